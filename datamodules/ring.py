"""The ring of Gaussians on which mode collapse is measured."""

from __future__ import annotations

import math
from typing import Any

import torch

from datamodules.checks import require_positive
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import GaussianMixture


class RingDataModule(SyntheticDataModule):
    """Equally weighted Gaussians at equal angles on a circle in the plane; labels are mode indices.

    Defaults follow Lin et al., "PacGAN", 2018: 8 modes, radius 1, std .01, 100,000 training samples and 2,500 to
    evaluate on.

    Args:
        modes: number of Gaussians, at angles 2 pi k / modes: the end point, which is the first mode again, is left out.
        radius: of the circle.
        std: of every Gaussian, in the units of radius.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(self, *, modes: int = 8, radius: float = 1.0, std: float = 0.01, **kwargs: Any) -> None:
        require_positive(modes=modes, radius=radius, std=std)
        angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        super().__init__(GaussianMixture(radius * torch.stack([angles.cos(), angles.sin()], 1), std), **kwargs)
