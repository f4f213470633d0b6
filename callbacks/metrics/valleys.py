"""Where a sample lies between the modes of a known density, and how deep the valley is there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_GRID = 1025  # points on a segment: cells of two modes that are 1,000 std apart still have one in each
_SAMPLES = 10_000  # of the truth, for the spread of its modes


class Valleys:
    """The density of a truth along the segments between its modes' centres.

    Args:
        truth: what knows ``means`` (K, d), ``log_density`` and ``sample``; at least two modes make a valley.
        alpha: share of the truth's own samples that are farther from their mode's centre than ``spread`` says.
    """

    def __init__(self, truth: Any, alpha: float) -> None:
        self.truth = truth
        self.means: Tensor = truth.means.double()
        samples, _ = truth.sample(_SAMPLES, torch.Generator().manual_seed(0))
        #: quantile of squared distances to the nearest centre
        self.spread = upper_quantile(torch.cdist(samples.double(), self.means).min(1).values.square(), alpha)
        self._depths: dict[tuple[int, int], Tensor] = {}

    def placed(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Depth in nats of the valley where each sample projects, 0 for none, float64 (N,), and its two modes, (N,).

        Raises:
            ValueError: samples that are not (N, d) up to flattening, or not finite.
        """
        x = samples.detach().flatten(1).cpu().double()
        if x.shape[1] != self.means.shape[1] or not x.isfinite().all():
            raise ValueError(
                f"samples of shape {tuple(samples.shape)} must be finite and of the truth's d={self.means.shape[1]}."
            )
        first = torch.cdist(x, self.means, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
        start = self.means[first]
        ways = (self.means - start[:, None]).square().sum(2)  # |m_j - m_i|^2, (N, K)
        along = ((x - start) @ self.means.T - ((x - start) * start).sum(1)[:, None]) / ways
        # (m_i - x).(m_j - x) = |x - m_i|^2 - (x - m_i).(m_j - m_i)
        inner = (x - start).square().sum(1)[:, None] - along * ways
        central = torch.minimum(along, 1 - along)
        central[(inner > self.spread) | (ways == 0)] = -torch.inf
        reached, second = central.max(1)
        at = along.gather(1, second[:, None]).squeeze(1)
        depth = torch.zeros_like(reached)
        for pair in torch.unique(torch.stack([first, second], 1)[reached > 0], dim=0):
            rows = (first == pair[0]) & (second == pair[1]) & (reached > 0)
            depth[rows] = _at(self.depths(*pair.tolist()), at[rows])
        return depth, first, second

    def depths(self, first: int, second: int) -> Tensor:
        """Depth at equal steps from one mode's centre to another's: the lower of the maxima on both sides, less f."""
        if (first, second) not in self._depths:
            way = torch.linspace(0, 1, _GRID, dtype=torch.float64)[:, None]
            f = self.truth.log_density(self.means[first].lerp(self.means[second], way)).cpu()
            f = f.clamp(min=-torch.finfo(torch.float32).max)  # nowhere else is a difference of densities undefined
            sides = torch.minimum(f.cummax(0).values, f.flip(0).cummax(0).values.flip(0))
            self._depths[first, second] = sides - f
            self._depths[second, first] = (sides - f).flip(0)
        return self._depths[first, second]


def upper_quantile(values: Tensor, alpha: float) -> Tensor:
    """The least of the values (n,) that at most ``alpha`` n of them exceed."""
    return values.sort(descending=True).values[int(alpha * len(values))]


def _at(values: Tensor, position: Tensor) -> Tensor:
    """Linear interpolation of values at equal steps in [0, 1]."""
    where = position.clamp(0, 1) * (len(values) - 1)
    left = where.long().clamp(max=len(values) - 2)
    return values[left].lerp(values[left + 1], where - left)
