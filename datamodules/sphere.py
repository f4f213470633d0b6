"""Modes on a sphere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import Sphere


class SphereDataModule(SyntheticDataModule):
    """Equally weighted modes, far from each other, on the sphere in R^dimension.

    Args:
        modes: how many.
        dimension: of the space around the sphere, at least 2.
        radius: of the sphere.
        tangential_std: of a mode, along the sphere.
        normal_std: of the distance from the sphere.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive; a dimension below 2; modes too wide for the sphere.
    """

    def __init__(
        self,
        *,
        modes: int = 12,
        dimension: int = 3,
        radius: float = 1.0,
        tangential_std: float = 0.05,
        normal_std: float = 0.02,
        **kwargs: Any,
    ) -> None:
        require_positive(modes=modes, dimension=dimension)
        super().__init__(Sphere(scattered(modes, dimension), radius, tangential_std, normal_std), **kwargs)


def scattered(n: int, dimension: int, candidates: int = 4096) -> Tensor:
    """Directions far from each other, (n, dimension): each next one of many is the farthest from those before."""
    generator = keyed_generator("scattered", dimension)
    drawn = normalize(torch.randn(max(candidates, 4 * n), dimension, dtype=torch.float64, generator=generator))
    chosen = [0]
    nearest = torch.full((len(drawn),), torch.inf, dtype=torch.float64)
    for _ in range(n - 1):
        nearest = torch.minimum(nearest, (drawn - drawn[chosen[-1]]).norm(dim=1))
        chosen.append(int(nearest.argmax()))
    return drawn[chosen]
