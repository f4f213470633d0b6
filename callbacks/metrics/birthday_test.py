"""How many different samples a generator makes, by how often two of them are nearly the same."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import RowMetric
from callbacks.metrics.memo import Memo
from callbacks.metrics.nearest import neighbours, within


class BirthdayTest(RowMetric):
    """The birthday paradox as a test of support size: of n samples of K kinds, n (n - 1) / (2 K) pairs are of a kind.

    Arora, Risteski and Zhang (2018, 1706.08224) look for the batch size at which some pair of generated samples is
    nearly the same; here the share of such pairs is measured. Two samples are nearly the same, they collide, if they
    are at most as far apart as the ``quantile`` of real samples are from their nearest neighbours. ``compute`` gives
    float64 scalars:

    - ``birthday_support``: 1 / c, where c is the share of colliding pairs among all n (n - 1) / 2 pairs of generated
      samples: how many equally likely kinds they are of, whatever n is. c estimates without bias the probability that
      two samples collide, which is sum p^2 for kinds of probability p, so frequent kinds count most. Where no pair
      collides, the value is n (n - 1) / 2: the support is that large or larger.
    - ``birthday_pairs``: c over that of reals, >= 0: 1 in expectation for samples of the reals' distribution, about a
      if each kind is a times as frequent, and 0 where no pair collides. With C colliding pairs on a side its relative
      standard deviation is about 1 / sqrt(C) each.

    The reals decide how near is nearly the same: more reals have nearer neighbours, so compare at equal numbers of
    reals only. m reals of a continuous distribution have a support of about m / quantile, whatever they are.

    Args:
        quantile: of reals, in (0, 1).
        capacity: samples that are kept of each side.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    def __init__(
        self, quantile: float = 0.1, capacity: int = 5_000, reset_real_features: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if not 0 < quantile < 1:
            raise ValueError(f"quantile={quantile} must be in (0, 1).")
        self.quantile = quantile
        self._calibrated = Memo(_calibrated)
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def compute(self) -> dict[str, Tensor]:
        """Both values, by name.

        Raises:
            ValueError: a side has fewer than two samples.
        """
        real, fake = self.kept("real"), self.kept("fake")
        for side, rows in ((True, real), (False, fake)):
            self.require(side, len(rows), 2, "a pair")
        limit, expected = self._calibrated(real, self.quantile)
        pairs, collisions = math.comb(len(fake), 2), _collisions(fake, limit).double()
        return {
            "birthday_support": pairs / collisions.clamp(min=1),
            "birthday_pairs": collisions / pairs / expected,
        }


def _calibrated(real: Tensor, quantile: float) -> tuple[Tensor, Tensor]:
    """The squared distance up to which samples collide, and the share of pairs of reals that do, > 0."""
    apart, _ = neighbours(real)
    limit = apart.kthvalue(math.ceil(quantile * len(real))).values
    return limit, _collisions(real, limit) / math.comb(len(real), 2)


def _collisions(rows: Tensor, limit: Tensor) -> Tensor:
    """The number of pairs of rows at most so far apart, int64."""
    total = limit.new_zeros((), dtype=torch.int64)
    for i, j, (near,) in within(rows, None, limit.view(1, 1)):
        total += (near.triu(1) if i == j else near).sum()
    return total
