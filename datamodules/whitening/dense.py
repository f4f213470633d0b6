"""What whitenings share that estimate the whole covariance: its shrinkage, and what it takes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments, outer_products

Shrinkage = float | Literal["oas"]


class DenseWhitening(Whitening):
    """A whitening of the whole covariance: O(d^2) memory, O(n d^2 + d^3) time to fit, O(d^2) time a sample.

    Args:
        shrinkage: share a in [0, 1) of the mean variance m = tr(S) / d: the estimate of the covariance is
            (1 - a) S + a m I, which gives directions that the samples cannot show the variance a m; or "oas" for the
            share of Chen, Wiesel, Eldar and Hero, "Shrinkage algorithms for MMSE covariance estimation", 2010.

    Raises:
        ValueError: shrinkage is neither.
    """

    memory_limit: ClassVar[int] = 16 * 2**30  # bytes a fit may take; set it on the class or an instance to allow more
    matrices: ClassVar[int]  # d x d float64 matrices that a fit holds at its peak

    def __init__(self, shrinkage: Shrinkage = 0.0) -> None:
        super().__init__()
        if shrinkage != "oas" and not (isinstance(shrinkage, (int, float)) and 0 <= shrinkage < 1):
            raise ValueError(f"shrinkage must be a share in [0, 1) or 'oas', got {shrinkage!r}")
        self.shrinkage: Shrinkage = shrinkage

    @staticmethod
    def products(x: Tensor) -> Tensor:
        """The whole scatter matrix, (d, d)."""
        return outer_products(x)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse samples whose fit would take more than `memory_limit` bytes."""
        d = math.prod(shape)
        if (needed := self.matrices * 8 * d**2) > self.memory_limit:
            name = type(self).__name__
            raise ValueError(
                f"{name} of samples of shape {tuple(shape)} would take {needed / 2**30:,.1f} GiB to fit "
                f"({self.matrices} float64 matrices of {d:,} x {d:,}), more than {name}.memory_limit = "
                f"{self.memory_limit / 2**30:,.3g} GiB; use FourierWhitening (images, memory in proportion to their "
                "pixels), Standardize, or smaller images"
            )

    def _check_count(self, moments: Moments) -> None:
        super()._check_count(moments)
        n, d = moments.count, math.prod(moments.shape or ())
        if n <= d and not self._fits(n):
            raise ValueError(
                f"{n} samples of {d} coordinates: only n - 1 = {n - 1} directions can be seen, and in these the "
                "whitened training samples would all be equally far apart, whatever the data; pass "
                f"{self._remedies(n)} or more than {d} samples"
            )

    def _fits(self, n: int) -> bool:
        """Whether the arguments make sense of n samples in as many coordinates or more."""
        return self.shrinkage != 0

    def _remedies(self, n: int) -> str:
        return "shrinkage (a number in (0, 1) or 'oas': unseen directions get that share of the mean variance),"

    def _share_of_mean(self, trace: Tensor, squares: Tensor, n: int, d: int) -> Tensor:
        """The share a, from tr(S), tr(S^2) of the unbiased S.

        Equation 23 of Chen et al. without its terms 2 / d, as scikit-learn's OAS, for S divided by n.
        """
        if self.shrinkage != "oas":
            return torch.full_like(trace, float(self.shrinkage))
        mean, second = (trace / d).square(), squares / d**2
        excess = (n + 1) * (second - mean / d)  # 0 where S is a multiple of the identity
        return torch.where(excess > 0, (second + mean) / excess, 1).clamp(max=1)
