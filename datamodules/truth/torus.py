"""Modes on a flat torus."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.truth.flat_manifold import FlatManifold
from datamodules.truth.manifold import Feet


class Torus(FlatManifold):
    """The product of two circles of those radii in R^4 (Clifford's torus, where they are equal).

    Coordinates are arc lengths along both circles. The doughnut in R^3 is another embedding of the same surface, which
    stretches it: its geodesics are elliptic integrals that must be searched, and the shortest of several. This one is
    flat, so geodesic distances are exact, each circle's shorter way; and its noise has two normal directions.

    Modes are a grid of modes x modes. The `reach` is the smaller radius.

    Args:
        modes: along each circle.
        radii: of both circles, in units of the data.
        tangential_std: of a mode by coordinate.
        normal_std: of the distance from each circle.
        weights: (modes^2,), equal where None.

    Raises:
        ValueError: a number that is not positive; not two radii; those of ManifoldTruth.
    """

    def __init__(
        self,
        modes: int,
        radii: Sequence[float],
        tangential_std: float,
        normal_std: float,
        weights: Tensor | None = None,
    ) -> None:
        if len(radii) != 2:
            raise ValueError(f"radii must be two numbers, got {list(radii)}")
        require_positive(modes=modes, **{f"radii[{i}]": radius for i, radius in enumerate(radii)})
        self.radii = torch.tensor(radii, dtype=torch.float64)
        self.reach = float(min(radii))
        lengths = 2 * math.pi * self.radii
        steps = torch.arange(modes, dtype=torch.float64) / modes
        super().__init__(
            torch.cartesian_prod(lengths[0] * steps, lengths[1] * steps),
            lengths.tolist(),
            periodic=[True, True],
            dimension=4,
            tangential_std=tangential_std,
            normal_std=normal_std,
            weights=weights,
        )

    def embed(self, coordinates: Tensor) -> Tensor:
        radii = self.radii.to(coordinates.device)
        return (radii[:, None] * _on_circles(coordinates / radii)).flatten(-2)

    def feet(self, x: Tensor) -> Feet:
        pairs, radii = x.view(-1, 2, 2), self.radii.to(x.device)
        near = torch.atan2(pairs[..., 1], pairs[..., 0])
        # A line through a circle's centre meets it on both sides.
        both = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], device=x.device) * math.pi
        coordinates = (near[:, None] + both).remainder(2 * math.pi) * radii
        jacobian = (pairs.norm(dim=2) / radii).prod(1)
        return Feet(
            coordinates, torch.ones_like(coordinates[..., 0], dtype=torch.bool), jacobian[:, None].expand(-1, 4)
        )

    def tangents(self, coordinates: Tensor) -> Tensor:
        points = _on_circles(coordinates / self.radii.to(coordinates.device))
        return _blocks(torch.stack([-points[..., 1], points[..., 0]], -1))

    def normals(self, coordinates: Tensor) -> Tensor:
        return _blocks(_on_circles(coordinates / self.radii.to(coordinates.device)))

    def curvature(self, coordinates: Tensor) -> Tensor:
        return torch.full_like(coordinates[:, 0], 1 / self.reach)


def _on_circles(angles: Tensor) -> Tensor:
    """Points of unit circles, (..., 2, 2), from angles (..., 2)."""
    return torch.stack([angles.cos(), angles.sin()], -1)


def _blocks(vectors: Tensor) -> Tensor:
    """Vectors in each circle's plane, (N, 2, 2), as vectors of R^4, (N, 2, 4)."""
    nothing = torch.zeros_like(vectors[:, 0])
    first, second = torch.cat([vectors[:, 0], nothing], 1), torch.cat([nothing, vectors[:, 1]], 1)
    return torch.stack([first, second], 1)
