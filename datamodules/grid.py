"""The grid of Gaussians on which mode collapse is measured."""

from __future__ import annotations

from typing import Any

import torch

from datamodules.checks import require_positive
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import GaussianMixture


class GridDataModule(SyntheticDataModule):
    """Equally weighted Gaussians on a square grid around the origin, or a cubic one; labels are mode indices.

    Defaults follow Lin et al., "PacGAN", 2018: means {-4, -2, 0, 2, 4}^2, std .05, 100,000 training samples and 2,500
    to evaluate on.

    Args:
        side: modes along each axis, side^dimension in all, the last axis counting fastest.
        dimension: number of axes.
        spacing: of neighbouring means.
        std: of every Gaussian, in the units of spacing.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(
        self, *, side: int = 5, dimension: int = 2, spacing: float = 2.0, std: float = 0.05, **kwargs: Any
    ) -> None:
        require_positive(side=side, dimension=dimension, spacing=spacing, std=std)
        axis = spacing * (torch.arange(side, dtype=torch.float64) - (side - 1) / 2)
        means = torch.cartesian_prod(*[axis] * dimension).reshape(-1, dimension)
        super().__init__(GaussianMixture(means, std), **kwargs)
