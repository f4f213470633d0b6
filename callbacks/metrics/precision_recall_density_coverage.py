"""How many generated samples are among the reals (fidelity), and how much of these they cover (diversity)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY, RowMetric
from callbacks.metrics.memo import Memo
from callbacks.metrics.nearest import neighbours as nearest
from callbacks.metrics.nearest import within


class PrecisionRecallDensityCoverage(RowMetric):
    """Fidelity and diversity by balls that reach from each sample to its k-th nearest other one of the same side.

    ``compute`` gives float64 scalars:

    - ``precision``: share of generated samples in the ball of some real one, in [0, 1].
    - ``recall``: share of real samples in the ball of some generated one, in [0, 1] (both Kynkaanniemi et al., 2019,
      1904.06991, equations 1 and 2).
    - ``density``: number of reals' balls that hold a generated sample, in the mean, over k: in [0, N / k], about 1 for
      the reals' distribution; a few outliers among the reals do not raise it as they do precision.
    - ``coverage``: share of reals' balls that hold a generated sample, in [0, 1] (both Naeem et al., 2020, 2002.09797,
      equation 3); 1 - 1 / 2^k is expected of as many samples of the reals' distribution.

    Balls are closed (<=), so a copy of a sample is in a ball of radius 0. The package ``prdc`` takes open ones, with
    which copies have density and coverage 0 where samples repeat; elsewhere values agree.

    All values depend on the number of samples on both sides, and those of k: compare at equal numbers only. No more
    than ``capacity`` samples a side are kept, a uniform sample of all. Distances are decided exactly (see ``nearest``);
    two sides of n samples take 2 n^2 d products, of which those of the reals, a quarter, are saved while they do not
    change, and memory for one block of pairs beside the kept samples.

    Args:
        neighbours: k, at least 1.
        capacity: samples that are kept of each side, more than k.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(
        self, neighbours: int = 5, capacity: int = CAPACITY, reset_real_features: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if neighbours < 1:
            raise ValueError(f"neighbours={neighbours} must be at least 1.")
        if capacity <= neighbours:
            raise ValueError(f"capacity={capacity} must be above neighbours={neighbours}.")
        self.neighbours = neighbours
        self._radii = Memo(nearest)
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def compute(self) -> dict[str, Tensor]:
        """The four values, by name.

        Raises:
            ValueError: a side has no more than k samples.
        """
        real, fake = self.kept("real"), self.kept("fake")
        for side, rows in ((True, real), (False, fake)):
            self.require(side, len(rows), self.neighbours + 1, f"neighbours={self.neighbours}")
        (real_radii, _), (fake_radii, _) = self._radii(real, self.neighbours), nearest(fake, self.neighbours)
        balls = torch.zeros(len(fake), device=fake.device, dtype=torch.float64)  # reals' that hold each generated one
        covers, recalled = torch.zeros(2, len(real), device=real.device, dtype=torch.bool)
        for i, j, (by_real, by_fake) in within(real, fake, real_radii[:, None], fake_radii[None]):
            balls[j] += by_real.view(torch.uint8).sum(0, dtype=torch.int32)  # 8 times as fast as to int64
            covers[i] |= by_real.any(1)
            recalled[i] |= by_fake.any(1)
        return {
            "precision": (balls > 0).double().mean(),
            "recall": recalled.double().mean(),
            "density": balls.mean() / self.neighbours,
            "coverage": covers.double().mean(),
        }
