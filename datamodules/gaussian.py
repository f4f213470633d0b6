"""One Gaussian, as ill-conditioned as asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.spectra import log_uniform_spectrum, random_rotations
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import GaussianMixture


class GaussianDataModule(SyntheticDataModule):
    """N(0, Q diag(spectrum) Q^T), Q a random orthogonal matrix: data on which whitening is measured.

    A discriminator's problem is as well conditioned as its data; the axes are rotated so that dividing each coordinate
    by its std doesn't help. There is one mode, so every label is 0.

    Args:
        dimension: number of coordinates; 32 where neither it nor a spectrum is given.
        condition_number: greatest variance, 1, over the least, the others between them in equal ratios; 100 where
            neither it nor a spectrum is given.
        spectrum: the variances, instead of both.
        rotate: whether the axes are random (Haar), rather than the coordinates' own.
        truth_seed: of the rotation; `data_seed` draws the samples.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a spectrum that is empty, not positive, or given together with what it replaces; a dimension that is
            not positive; a condition number below 1, or above 1 in one dimension.
    """

    def __init__(
        self,
        *,
        dimension: int | None = None,
        condition_number: float | None = None,
        spectrum: Sequence[float] | None = None,
        rotate: bool = True,
        truth_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        require_positive(dimension=dimension)
        if spectrum is None:
            variances = log_uniform_spectrum(dimension or 32, 100.0 if condition_number is None else condition_number)
        elif dimension is None and condition_number is None:
            require_positive(**{"length of spectrum": len(spectrum)})
            require_positive(**{f"spectrum[{i}]": variance for i, variance in enumerate(spectrum)})
            variances = torch.tensor(spectrum, dtype=torch.float64)
        else:
            raise ValueError(
                f"spectrum (of {len(spectrum)} variances) takes the place of dimension {dimension} and "
                f"condition_number {condition_number}; give it alone"
            )
        factor = variances.sqrt().diag()
        if rotate:
            factor = random_rotations(1, len(variances), keyed_generator("gaussian", truth_seed))[0] @ factor
        super().__init__(GaussianMixture(torch.zeros(1, len(variances)), factor[None]), **kwargs)
