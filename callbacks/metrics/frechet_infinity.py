"""Frechet distance as the number of generated samples goes to infinity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY
from callbacks.metrics.frechet_distance import FrechetMetric
from callbacks.metrics.gaussian import Gaussian, frechet_distance
from callbacks.metrics.moments import extended, no_moments, where_float64_is


class FrechetInfinity(FrechetMetric):
    """FID extrapolated to infinitely many generated samples (Chong and Forsyth, 2020, 1911.07023, section 4).

    FID of N generated samples is above its limit by a term in 1/N, whose factor depends on the generator, so generators
    may change places as N grows. The line FID = a / N + b is fitted to FIDs of N = n, n/2, n/3, ... of the n generated
    samples, each against the moments of all reals. Where the paper draws one random subset for each N, here n/m is the
    mean over m disjoint ones: what all n samples have in common does not shift the points against each other.

    ``compute`` gives float64 scalars:

    - ``fid_infinity``: b, in squared units of the features. It may be below 0, by its own error, near the reals.
    - ``fid_infinity_r2``: coefficient of determination of the line, at most 1; below about 0.98 there are too few
      samples for the value to be trusted.

    The number of reals still counts: give as many as there are. Time is that of points (points + 1) / 2 FIDs.

    Args:
        points: number of different N, at least 3.
        capacity: generated samples that are kept, a uniform sample of all; more than points x d.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: fewer points than 3.
    """

    sees = ("features", "index")
    plot_lower_bound = None

    def __init__(
        self,
        points: int = 4,
        capacity: int = CAPACITY,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if points < 3:
            raise ValueError(f"points={points} must be at least 3: two always lie on a line.")
        self.points, self.capacity = points, capacity
        self.add_moments("real_moments")
        self.add_rows("fake", capacity)

    def update(self, features: Tensor, real: bool, index: Tensor | None = None) -> None:
        """Accumulate features (N, d) of reals, or keep those of generated samples with their numbers (N,).

        Raises:
            ValueError: not 2-D, another d than before, not finite, or numbers of another length.
        """
        rows = self.checked(features)
        if real:
            self.extend("real_moments", rows)
        else:
            self.keep("fake", rows, index)

    def compute(self) -> dict[str, Tensor]:
        """The two values, by name.

        Raises:
            ValueError: fewer than two reals, or no more generated samples in a subset than features.
        """
        fake, d = where_float64_is(self.kept("fake")), self.num_features
        if self.capacity < (need := self.points * (d + 1)):
            raise ValueError(
                f"capacity={self.capacity} generated sample(s) are kept, but points={self.points} at d={d} features "
                f"need {need}, for below d the bias is no line in 1/N: give FrechetInfinity(capacity={need})."
            )
        self.require(False, len(fake), need, f"points={self.points} at d={d} features (each subset more than d)")
        real = self.real_gaussian()
        inverse = torch.arange(1, self.points + 1, dtype=torch.float64, device=real.mean.device) / len(fake)
        values = torch.stack(
            [
                torch.stack([frechet_distance(real, _gaussian(part)) for part in fake.tensor_split(m)]).mean()
                for m in range(1, self.points + 1)
            ]
        )
        x, y = inverse - inverse.mean(), values - values.mean()
        slope = (x @ y) / (x @ x)
        unexplained, total = (y - slope * x).square().sum(), y.square().sum()
        r2 = torch.where(total > 0, 1 - unexplained / total, torch.ones_like(total))
        return {"fid_infinity": values.mean() - slope * inverse.mean(), "fid_infinity_r2": r2}


def _gaussian(rows: Tensor) -> Gaussian:
    return Gaussian.of_moments(extended(no_moments(rows.shape[1]).to(rows.device), [rows]))
