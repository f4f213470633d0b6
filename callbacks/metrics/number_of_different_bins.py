"""Whether generated samples fall into the regions of the data as often as real ones do."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY, RowMetric
from callbacks.metrics.memo import Memo

_PER_BIN = 20  # samples of a side that a bin holds in the mean, for a normal test of its proportion


class NumberOfDifferentBins(RowMetric):
    """NDB: in how many clusters of the data the share of generated samples differs from that of reals.

    Bins are the Voronoi cells of k-means centres of reals. ``compute`` gives float64 scalars:

    - ``ndb``: share of bins where the two proportions differ by a two-sided z-test of pooled variance at ``level``, in
      [0, 1] (Richardson and Weiss, 2018, 1805.12462, section 3, as NDB / K). It is about ``level`` in expectation for
      the reals' distribution.
    - ``ndb_js``: Jensen-Shannon divergence of the proportions in nats, in [0, log 2]. For the reals' distribution it is
      about (K - 1) (1 / n + 1 / m) / 8 with n reals counted and m generated samples.

    Centres are of one half of the reals, and the other half is counted. The paper counts those that it clusters, but
    centres are fitted to these: of 1,000 normal rows in 256 dimensions then half of the bins differ from new ones.

    Both values depend on the number of samples of both sides: the more, the smaller are differences that are seen.

    Args:
        bins: K, at least 2, or fewer so that each side that is counted has 20 samples a bin.
        level: of the test, in (0, 1).
        capacity: samples that are kept of each side.
        seed: of k-means.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    higher_is_better = False
    plot_upper_bound = 1.0

    def __init__(
        self,
        bins: int = 100,
        level: float = 0.05,
        capacity: int = CAPACITY,
        seed: int = 0,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if bins < 2:
            raise ValueError(f"bins={bins} must be at least 2.")
        if not 0 < level < 1:
            raise ValueError(f"level={level} must be in (0, 1).")
        self.bins = bins
        self.level = level
        self._binned = Memo(_binned)
        self.seed = seed
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def compute(self) -> dict[str, Tensor]:
        """Both values, by name.

        Raises:
            ValueError: too few samples for two bins.
        """
        real, fake = self.kept("real").cpu(), self.kept("fake").cpu()
        for name, rows, needed in (("real", real, 4 * _PER_BIN), ("generated", fake, 2 * _PER_BIN)):
            if len(rows) < needed:
                raise ValueError(
                    f"NumberOfDifferentBins has {len(rows)} {name} sample(s), and two bins need at least {needed}: "
                    f"call update(features, real={name == 'real'}) before compute()."
                )
        bins = min(self.bins, len(real) // 2 // _PER_BIN, len(fake) // _PER_BIN)
        model, expected = self._binned(real, bins, self.seed)
        return _compared(expected, _counts(model, fake), self.level)


def _binned(real: Tensor, bins: int, seed: int) -> tuple[Any, Tensor]:
    """A k-means model of half of the reals, and the number of the others in each bin, (K,)."""
    from sklearn.cluster import KMeans

    fitted, counted = real[: len(real) // 2], real[len(real) // 2 :]
    model = KMeans(bins, n_init=1, random_state=seed).fit(fitted.double().numpy())
    return model, _counts(model, counted)


def _counts(model: Any, rows: Tensor) -> Tensor:
    return torch.from_numpy(model.predict(rows.double().numpy())).long().bincount(minlength=model.n_clusters).double()


def _compared(one: Tensor, other: Tensor, level: float) -> dict[str, Tensor]:
    """The share of bins whose proportions differ, and the divergence of the proportions, from counts (K,) of each."""
    n, m = one.sum(), other.sum()
    p, q, pooled = one / n, other / m, (one + other) / (n + m)
    error = (pooled * (1 - pooled) * (1 / n + 1 / m)).sqrt()
    different = (p - q).abs() > NormalDist().inv_cdf(1 - level / 2) * error  # not so where a bin has none or all
    middle = (p + q) / 2
    divergence = sum((torch.xlogy(x, x) - torch.xlogy(x, middle)).sum() for x in (p, q)) / 2
    return {"ndb": different.double().mean(), "ndb_js": torch.as_tensor(divergence).clamp(min=0)}
