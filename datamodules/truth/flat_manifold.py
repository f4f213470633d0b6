"""Manifolds that unroll without stretching."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.truth.manifold import Feet, ManifoldTruth


class FlatManifold(ManifoldTruth):
    """A manifold isometric to a box, of which some sides may be closed to circles: geodesics are straight lines in it.

    Coordinates are arc lengths along the sides, (N, m).

    Args:
        centres: of the modes, in coordinates, distinct, (K, m).
        lengths: of the sides.
        periodic: which sides are circles; none where None.
        **kwargs: those of ManifoldTruth but `intrinsic_dimension`, `room` and `kept`.

    Raises:
        ValueError: centres that are not (K, m), not distinct or outside the box; those of ManifoldTruth.
    """

    def __init__(
        self,
        centres: Tensor,
        lengths: Sequence[float],
        *,
        tangential_std: float,
        periodic: Sequence[bool] | None = None,
        **kwargs: Any,
    ) -> None:
        require_positive(tangential_std=tangential_std, **{f"side {i}": side for i, side in enumerate(lengths)})
        centres, self.lengths = centres.double(), torch.tensor(lengths, dtype=torch.float64)
        self.periodic = torch.tensor(periodic or [False] * len(lengths))
        if centres.ndim != 2 or centres.shape[1] != len(lengths) or not len(centres):
            raise ValueError(f"centres must be of shape (K, {len(lengths)}), got {tuple(centres.shape)}")
        if not ((centres >= 0) & (centres <= self.lengths)).all():
            raise ValueError(f"centres must lie in the box with sides {list(lengths)}, got {centres.tolist()}")
        if len(distinct := torch.unique(centres, dim=0)) < len(centres):
            raise ValueError(f"only {len(distinct)} of {len(centres)} centres are distinct; drop the duplicates")
        half = self.lengths / 2
        before = torch.where(self.periodic, half, centres)
        after = torch.where(self.periodic, half, self.lengths - centres)
        ends = torch.special.ndtr(torch.stack([-before, after]) / tangential_std)
        kept = (ends[1] - ends[0]).prod(1)
        room = torch.minimum(before, after).min(1).values
        super().__init__(
            centres,
            intrinsic_dimension=len(lengths),
            room=room,
            kept=kept,
            tangential_std=tangential_std,
            **kwargs,
        )

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        lengths, periodic = self.lengths.to(a.device), self.periodic.to(a.device)
        apart = (a - b).abs()
        shorter = torch.where(periodic, torch.minimum(apart, lengths - apart), apart)
        distance: Tensor = torch.linalg.vector_norm(shorter, dim=-1)
        return distance

    def _walk(self, start: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        end = start + v
        inside = torch.where(self.periodic, v.abs() <= self.lengths / 2, (end >= 0) & (end <= self.lengths))
        return torch.where(self.periodic, end.remainder(self.lengths), end), inside.all(1)


class Segment(FlatManifold):
    """The stretch of the first axis of the plane from 0 to `length`: what a curve in the plane is unrolled to.

    Args:
        centres: arc lengths of the modes, (K, 1).
        length: of the stretch.
        **kwargs: tangential_std, normal_std, weights.
    """

    def __init__(self, centres: Tensor, length: float, **kwargs: Any) -> None:
        super().__init__(centres, [length], dimension=2, **kwargs)
        self.reach = math.inf

    def embed(self, coordinates: Tensor) -> Tensor:
        return torch.cat([coordinates, torch.zeros_like(coordinates)], -1)

    def feet(self, x: Tensor) -> Feet:
        at = x[:, :1].clamp(0.0, float(self.lengths[0]))
        return Feet(at[..., None], at == x[:, :1], torch.ones_like(at))

    def tangents(self, coordinates: Tensor) -> Tensor:
        return coordinates.new_tensor([1.0, 0.0]).expand(len(coordinates), 1, 2)

    def normals(self, coordinates: Tensor) -> Tensor:
        return coordinates.new_tensor([0.0, 1.0]).expand(len(coordinates), 1, 2)

    def curvature(self, coordinates: Tensor) -> Tensor:
        return torch.zeros_like(coordinates[:, 0])
