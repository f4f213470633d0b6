"""A rolled-up rectangle: turns that are near in space and far along the roll."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.truth.flat_manifold import FlatManifold
from datamodules.truth.manifold import Feet

FIRST, LAST = 1.5 * math.pi, 4.5 * math.pi  # angles of the spiral's ends
# inf |q - p|^2 / (2 distance of q - p from the tangent at p), Federer, "Curvature measures", 1959, theorem 4.18
REACH = 3.1113
_GRID, _ROOTS, _HALVINGS = 192, 6, 50


class SwissRoll(FlatManifold):
    """(t cos t, h, t sin t) for t in [1.5 pi, 4.5 pi] and h in [0, height], times a scale (Tenenbaum et al., 2000).

    Coordinates are arc length along the spiral, from its inner end, and height. At scale 1 the spiral is 89.37 long
    and its turns are 2 pi apart along a ray; its `reach` is 3.1113, a little below half of that.

    Modes are a grid of modes x rows, at the middles of equal cells.

    Args:
        modes: along the spiral.
        rows: along the height.
        height: in units of the data.
        scale: of the spiral.
        tangential_std: of a mode by coordinate.
        normal_std: of the noise off the roll.
        weights: (modes rows,), equal where None.

    Raises:
        ValueError: a number that is not positive; those of ManifoldTruth.
    """

    def __init__(
        self,
        modes: int,
        rows: int,
        height: float,
        scale: float,
        tangential_std: float,
        normal_std: float,
        weights: Tensor | None = None,
    ) -> None:
        require_positive(modes=modes, rows=rows, height=height, scale=scale)
        self.scale, self.reach = float(scale), REACH * scale
        lengths = scale * _arc(LAST), float(height)
        along, up = (
            length * (torch.arange(n, dtype=torch.float64) + 0.5) / n
            for n, length in zip((modes, rows), lengths, strict=True)
        )
        super().__init__(
            torch.cartesian_prod(along, up),
            lengths,
            dimension=3,
            tangential_std=tangential_std,
            normal_std=normal_std,
            weights=weights,
        )

    def embed(self, coordinates: Tensor) -> Tensor:
        t = self._angle(coordinates)
        x, z = self.scale * t * t.cos(), self.scale * t * t.sin()
        return torch.stack([x, coordinates[..., 1], z], -1)

    def feet(self, x: Tensor) -> Feet:
        plane = x[:, [0, 2]] / self.scale
        t, found = _spiral_feet(plane)
        up = x[:, 1].clamp(0.0, float(self.lengths[1]))
        standing = found & (up == x[:, 1])[:, None]
        s = self.scale * _arcs(t)
        point = torch.stack([t * t.cos(), t * t.sin()], -1)
        inward = ((plane[:, None] - point) * _spiral_normal(t)).sum(-1)
        jacobian = (1 - _spiral_curvature(t) * inward).abs()
        return Feet(torch.stack([s, up[:, None].expand_as(s)], -1), standing, jacobian)

    def tangents(self, coordinates: Tensor) -> Tensor:
        inward = _spiral_normal(self._angle(coordinates))
        zero, one = torch.zeros_like(inward[:, 0]), torch.ones_like(inward[:, 0])
        along = torch.stack([inward[:, 1], zero, -inward[:, 0]], 1)
        return torch.stack([along, torch.stack([zero, one, zero], 1)], 1)

    def normals(self, coordinates: Tensor) -> Tensor:
        inward = _spiral_normal(self._angle(coordinates))
        return torch.stack([inward[:, 0], torch.zeros_like(inward[:, 0]), inward[:, 1]], 1)[:, None]

    def curvature(self, coordinates: Tensor) -> Tensor:
        return _spiral_curvature(self._angle(coordinates)) / self.scale

    def _angle(self, coordinates: Tensor) -> Tensor:
        """Angle t at arc length s, by Newton's method: s grows almost as t^2 / 2, and by sqrt(1 + t^2)."""
        s = coordinates[..., 0] / self.scale
        t = (2 * s + FIRST**2).clamp(min=0.0).sqrt()
        for _ in range(6):
            t = t - (_arcs(t) - s) / (1 + t * t).sqrt()
        return t


def _arcs(t: Tensor) -> Tensor:
    """Arc length from the inner end to angle t, (t sqrt(1 + t^2) + asinh t) / 2 there less that at the end."""
    return (t * (1 + t * t).sqrt() + t.asinh()) / 2 - _START


def _arc(t: float) -> float:
    return float(_arcs(torch.tensor(t, dtype=torch.float64)))


_START = (FIRST * math.sqrt(1 + FIRST**2) + math.asinh(FIRST)) / 2


def _velocity(t: Tensor) -> Tensor:
    """Derivative of the spiral by t, (..., 2)."""
    return torch.stack([t.cos() - t * t.sin(), t.sin() + t * t.cos()], -1)


def _spiral_normal(t: Tensor) -> Tensor:
    """Unit normal that points to the spiral's inner side, (..., 2)."""
    tangent = _velocity(t) / (1 + t * t).sqrt()[..., None]
    return torch.stack([-tangent[..., 1], tangent[..., 0]], -1)


def _spiral_curvature(t: Tensor) -> Tensor:
    return (t * t + 2) / (1 + t * t) ** 1.5


def _spiral_feet(x: Tensor) -> tuple[Tensor, Tensor]:
    """Angles at which x, (N, 2), stands normal on the spiral, and both its ends: (N, F), and which are the former.

    Half the derivative of the squared distance by t is t - x.v(t), with v the spiral's velocity. Its sign changes on a
    grid bracket the roots, of which there are two a turn; bisection finds them.
    """
    grid = torch.linspace(FIRST, LAST, _GRID, dtype=x.dtype, device=x.device)
    positive = grid - x @ _velocity(grid).T > 0
    found, at = (positive[:, 1:] != positive[:, :-1]).to(torch.int8).topk(_ROOTS, 1)
    # Only brackets are refined: most samples have one or two.
    rows, slots = found.nonzero(as_tuple=True)
    low, high, point = grid[at[rows, slots]], grid[at[rows, slots] + 1], x[rows]
    rising = positive[rows, at[rows, slots] + 1]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        right = (middle - (point * _velocity(middle)).sum(1) > 0) == rising
        low, high = torch.where(right, low, middle), torch.where(right, middle, high)
    roots = grid[at]
    roots[rows, slots] = (low + high) / 2
    ends = grid[[0, -1]].expand(len(x), 2)
    return torch.cat([roots, ends], 1), torch.cat([found.bool(), torch.zeros_like(ends, dtype=torch.bool)], 1)
