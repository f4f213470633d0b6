"""Two parallel sheets that a bend joins: near in space, far along the curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.truth.flat_manifold import FlatManifold, Segment
from datamodules.truth.manifold import Feet


class Hairpin(FlatManifold):
    """The sheets y = 0 and y = gap over x in [0, length], joined at x = length by a semicircle, in the plane.

    The coordinate is arc length from (0, 0): along the lower sheet, around the bend, back along the upper one. Its
    `reach` is gap / 2, of the sheets and of the bend alike. Each sheet has `modes` modes, at x = length (i + 1/2) /
    modes, so mode i lies across the gap from mode 2 modes - 1 - i. The normal points into the gap.

    Moving mass p across the gap at x costs p gap in the plane, and p (2 (length - x) + pi gap / 2) along the curve.

    Args:
        modes: on each sheet.
        length: of a sheet.
        gap: between the sheets.
        tangential_std: of a mode along the curve.
        normal_std: of the noise off the curve.
        weights: (2 modes,), equal where None.

    Raises:
        ValueError: a number that is not positive; those of ManifoldTruth.
    """

    def __init__(
        self,
        modes: int,
        length: float,
        gap: float,
        tangential_std: float,
        normal_std: float,
        weights: Tensor | None = None,
    ) -> None:
        require_positive(modes=modes, length=length, gap=gap)
        self.length, self.gap, self.reach = float(length), float(gap), gap / 2
        self.bend = math.pi * gap / 2
        total = 2 * self.length + self.bend
        lower = self.length * (torch.arange(modes, dtype=torch.float64) + 0.5) / modes
        centres = torch.cat([lower, total - lower.flip(0)])[:, None]
        super().__init__(
            centres,
            [total],
            dimension=2,
            tangential_std=tangential_std,
            normal_std=normal_std,
            weights=weights,
        )

    def unrolled(self) -> Segment:
        """The same modes, masses and noise on a straight line."""
        return Segment(
            self.centres,
            float(self.lengths[0]),
            tangential_std=self.tangential_std,
            normal_std=self.normal_std,
            weights=self.weights,
        )

    def embed(self, coordinates: Tensor) -> Tensor:
        s = coordinates[..., 0]
        # Angle of travel: 0 on the lower sheet, pi on the upper one.
        turned = ((s - self.length) / self.reach).clamp(0.0, math.pi)
        x = s.clamp(max=self.length) - (s - self.length - self.bend).clamp(min=0.0) + self.reach * turned.sin()
        return torch.stack([x, self.reach * (1 - turned.cos())], -1)

    def feet(self, x: Tensor) -> Feet:
        along, total = x[:, 0], float(self.lengths[0])
        lower = along.clamp(0.0, self.length)
        dx, dy = along - self.length, x[:, 1] - self.reach
        # A line through the bend's centre meets the whole circle twice, the bend once: on this side, or across.
        side = torch.where(dx > 0, 1.0, -1.0)
        turned = torch.atan2(dx.abs(), -side * dy)
        s = torch.stack([lower, total - lower, self.length + self.reach * turned], 1)
        on_sheets = along == lower
        standing = torch.stack([on_sheets, on_sheets, dx != 0], 1)  # at dx = 0 the bend's feet are the sheets'
        flat = torch.ones_like(along)
        return Feet(s[..., None], standing, torch.stack([flat, flat, torch.hypot(dx, dy) / self.reach], 1))

    def tangents(self, coordinates: Tensor) -> Tensor:
        turned = ((coordinates[:, 0] - self.length) / self.reach).clamp(0.0, math.pi)
        return torch.stack([turned.cos(), turned.sin()], 1)[:, None]

    def normals(self, coordinates: Tensor) -> Tensor:
        tangent = self.tangents(coordinates)
        return torch.stack([-tangent[..., 1], tangent[..., 0]], -1)

    def curvature(self, coordinates: Tensor) -> Tensor:
        s = coordinates[:, 0]
        return ((s > self.length) & (s < self.length + self.bend)).double() / self.reach
