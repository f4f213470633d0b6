"""Gaussians at random places, in any dimension."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.spectra import log_uniform_spectrum, random_rotations
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import GaussianMixture
from datamodules.truth.gaussian_mixture import chi_quantile

_CANDIDATES = 16


class GaussianMixtureDataModule(SyntheticDataModule):
    """Gaussians with random means, round or stretched along random axes of their own; labels are mode indices.

    In d dimensions a Gaussian is a shell of radius about sqrt(d) std, so that neither 3 std nor any other fixed number
    of them says what belongs to a mode or how far apart two modes are: in 1,200 dimensions no sample lies within 30 std
    of its own mean. So both are stated in radii, one radius holding 98.89 % of a mode in any dimension
    (`GaussianMixture.radius`: 3 std in the plane, 36.3 std in 1,200 dimensions).

    Args:
        modes: number of Gaussians.
        dimension: d; 100,000 training samples take 12 d bytes each while they are drawn, 4 d after.
        separation: distance of the nearest two means, exactly, in radii of the greatest std. From 2 on no two modes'
            neighbourhoods meet, whatever their shapes. The ring has 25, the grid of PacGAN 13.
        std: the greatest standard deviation of each Gaussian, in units of the data.
        condition_number: of each Gaussian's covariance, greatest variance over the least, the others between them in
            equal ratios, along random axes (Haar).
        weights: probability of each mode up to a common factor; equal where None.
        truth_seed: of means and axes; `data_seed` draws the samples.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive; a condition number below 1, or above 1 in one dimension; weights that
            are not positive, or not one for each mode.
    """

    def __init__(
        self,
        *,
        modes: int = 8,
        dimension: int = 2,
        separation: float = 4.0,
        std: float = 0.05,
        condition_number: float = 1.0,
        weights: Sequence[float] | None = None,
        truth_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        require_positive(modes=modes, dimension=dimension, separation=separation, std=std)
        scale: float | Tensor = std
        if (spectrum := log_uniform_spectrum(dimension, condition_number))[-1] < 1:
            rotations = random_rotations(modes, dimension, keyed_generator("gaussian mixture axes", truth_seed))
            scale = std * rotations * spectrum.sqrt()
        means = spread_points(modes, dimension, keyed_generator("gaussian mixture means", truth_seed))
        means *= separation * chi_quantile(dimension) * std
        shares = None if weights is None else torch.tensor(weights, dtype=torch.float64)
        super().__init__(GaussianMixture(means, scale, shares), **kwargs)


def spread_points(n: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Random points (n, d) float64 around the origin whose least distance is 1.

    Each is the one of 16 Gaussian candidates that lies farthest from the points before it (Mitchell, "Spectrally
    optimal sampling for distribution ray tracing", 1991), without which many points would spread far for the sake of
    the closest two.
    """
    points = torch.randn(1, dimension, dtype=torch.float64, generator=generator)
    for _ in range(n - 1):
        candidates = torch.randn(_CANDIDATES, dimension, dtype=torch.float64, generator=generator)
        best = torch.cdist(candidates, points).min(1).values.argmax()
        points = torch.cat([points, candidates[best, None]])
    points -= points.mean(0)
    return points / torch.pdist(points).min() if n > 1 else points
