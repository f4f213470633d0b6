"""How many dissimilar samples a generator makes, as an effective number."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.nearest import squared_distances

_QUANTILE = 0.1  # of the reals' distances: about what lies between two of a mode, for up to some ten modes


class VendiScore(SampleMetric):
    """exp H(K / n), the exponential of the entropy of a similarity matrix's eigenvalues (Friedman and Dieng, 2023).

    K (n, n) holds the kernel k(x, y) of n generated samples, k(x, x) = 1. The value is a float64 scalar in [1, n]: 1
    where all samples are alike, m where there are m groups of equal size, alike within and unlike between (2210.02410).
    Read it against that of as many reals.

    The kernel "rbf" is exp(-|x - y|^2 / (2 h^2)), with a bandwidth h which only the reals decide, so that values of all
    generators on the same reals compare: the tenth percentile of their distances. That is small enough to tell modes
    apart, where a median is not (on a ring of 8 modes, 4 of them have a score of 51 % of that of all, with the median
    80 %). The kernel "cosine" is <x, y> / |x| |y|, usual on Inception features; it takes no reals, sees no length, and
    is never above d: in the plane it tells next to nothing.

    Args:
        kernel: "rbf" or "cosine".
        bandwidth: h > 0 of "rbf", in units of the features; from the reals if None.
        capacity: of samples of each side that are compared, a random subset where there are more. Time grows with its
            cube: 0.1 s for 1,000.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: another kernel, a bandwidth that is not positive or not of "rbf", a capacity below 2.
    """

    sees = ("features", "index")
    name = "vendi"
    higher_is_better = True

    def __init__(
        self,
        kernel: Literal["rbf", "cosine"] = "rbf",
        bandwidth: float | None = None,
        capacity: int = 1_000,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if kernel not in ("rbf", "cosine"):
            raise ValueError(f"kernel={kernel!r} must be 'rbf' or 'cosine'.")
        if bandwidth is not None and (kernel == "cosine" or not 0 < bandwidth < torch.inf):
            raise ValueError(f"bandwidth={bandwidth} must be positive, and None for the cosine kernel.")
        self.kernel = kernel
        self.bandwidth = bandwidth
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def update(self, features: Tensor, real: bool = False, index: Tensor | None = None) -> None:
        """Keep features (N, d) of real or of generated samples; reals only where they decide the bandwidth.

        Args:
            features: any floating dtype.
            real: whether they are of reals.
            index: numbers (N,) of the rows in the whole sequence.

        Raises:
            ValueError: not 2-D, another d than before, or not finite.
        """
        rows = self.checked(features)
        if not real or (self.kernel == "rbf" and self.bandwidth is None):
            self.keep("real" if real else "fake", rows, index)

    def compute(self) -> Tensor:
        """The score, a float64 scalar.

        Raises:
            ValueError: no generated samples, or no bandwidth: fewer than two reals, or a tenth of them are the same.
        """
        rows = self.kept("fake").cpu().double()
        self.require(False, len(rows), 1)
        if self.kernel == "cosine":
            unit = normalize(rows, dim=1)
            # Z Z^T and Z^T Z have the same eigenvalues but for zeros, which have no entropy
            similarity = unit @ unit.T if len(rows) < rows.shape[1] else unit.T @ unit
        else:
            similarity = (_distances(rows) / self._bandwidth()).square().div(-2).exp()
        eigenvalues = torch.linalg.eigvalsh(similarity / len(rows)).clamp(min=0)
        score: Tensor = torch.special.entr(eigenvalues).sum().exp()
        return score

    def _bandwidth(self) -> float:
        if self.bandwidth is not None:
            return self.bandwidth
        rows = self.kept("real").cpu().double()
        self.require(True, len(rows), 2, "the bandwidth of its kernel (unless bandwidth gives it)")
        i, j = torch.triu_indices(len(rows), len(rows), 1)
        pair = _distances(rows)[i, j].kthvalue(max(1, round(_QUANTILE * len(i)))).indices.view(1)
        # by difference: products leave rows that are the same some 1e-8 of their length apart
        bandwidth = float(squared_distances(rows, rows, i[pair], j[pair]).sqrt())
        if not bandwidth > 0:
            raise ValueError("VendiScore finds a tenth of all pairs of reals the same: give a bandwidth.")
        return bandwidth


def _distances(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(0)  # products of rows far from the origin would lose the digits of small distances
    return torch.cdist(centred, centred)
