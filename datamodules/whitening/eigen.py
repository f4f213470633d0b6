"""Whitening along the eigenvectors of the covariance."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.dense import DenseWhitening, Shrinkage
from datamodules.whitening.moments import Moments
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.spectrum import SpectralGain, reciprocal, share, variance_floor, with_fixed_signs


class EigenvalueWhitening(DenseWhitening):
    """diag(gain) U^T (x - mean), with the covariance's estimate U diag(s) U^T and gain = (s + epsilon)^(-power / 2).

    With epsilon 0, a variance s becomes s^(1 - power): the condition number k becomes k^(1 - power), so a power between
    0 and 1 trades conditioning for the weight that noise directions get.

    A direction u counts as empty, and maps to zero, where its variance is at most d * eps64 * max(s), which is what the
    eigenvalue solver can tell from zero, or at most sum_j u_j^2 (eps rms_j)^2, which is what rounding of the data's
    dtype may feign.

    A subclass says in which axes the result is given.

    Args:
        power: in [0, 1]: 0 only centres, 1 makes the covariance the identity.
        epsilon: >= 0, in squared units of the data: added to every variance before it is inverted (Krizhevsky,
            "Learning multiple layers of features from tiny images", 2009). Directions with s << epsilon are kept small
            instead of blown up; the map stays exactly invertible. Where no direction is empty, shrinkage a is the same
            map as epsilon = a m / (1 - a), up to one overall scale.
        shrinkage: of the estimate, see DenseWhitening.
        rank: directions to keep, those of largest variance; None for all.

    Raises:
        ValueError: power outside [0, 1], epsilon negative or not finite, shrinkage neither in [0, 1) nor "oas", or rank
            not positive.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "basis", "variance", "gain", "dropped", "floor")
    matrices: ClassVar[int] = 6
    basis: Tensor  # (d, r), columns in order of falling variance
    variance: Tensor  # (r,)
    gain: Tensor  # (r,)
    dropped: Tensor
    floor: Tensor

    def __init__(
        self,
        power: float = 1.0,
        epsilon: float = 0.0,
        shrinkage: Shrinkage = 0.0,
        rank: int | None = None,
    ) -> None:
        super().__init__(shrinkage)
        self._gain = SpectralGain(power, epsilon)
        if rank is not None and rank < 1:
            raise ValueError(f"rank must be positive, or None for every direction, got {rank}")
        self.power, self.epsilon, self.rank = power, epsilon, rank

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse samples of fewer coordinates than `rank`, or whose fit would take more than `memory_limit` bytes."""
        if self.rank is not None and self.rank > math.prod(shape):
            raise ValueError(
                f"rank must be at most {math.prod(shape)}, the number of coordinates of samples of shape "
                f"{tuple(shape)}, got {self.rank}"
            )
        super().check_shape(shape)

    def report(self) -> WhiteningReport:
        """Of the kept directions."""
        self._check_fitted()
        return WhiteningReport.of(self.mean.numel(), self.variance, self.gain, dropped=self.dropped, floor=self.floor)

    def _fits(self, n: int) -> bool:
        return super()._fits(n) or (self.rank is not None and self.rank < n)

    def _remedies(self, n: int) -> str:
        return f"{super()._remedies(n)} rank <= {n - 1} (the leading directions only)"

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        covariance = moments.covariance
        variance, basis = torch.linalg.eigh(covariance)
        rounding = moments.resolution(covariance.diagonal()).flatten() @ basis.square()
        variance = self._shrunk(variance.clamp(min=0), moments.count)
        threshold = variance_floor(variance, rounding)
        # eigh gives them in order of rising variance
        kept = (variance > threshold).nonzero().flatten().flip(0)[: self.rank]
        left_out = torch.ones_like(variance).index_fill(0, kept, 0)
        return {
            "mean": moments.mean,
            "basis": with_fixed_signs(basis[:, kept]),
            "variance": variance[kept],
            "gain": self._gain(variance[kept]),
            "dropped": share(left_out @ variance, variance.sum()),
            "floor": share(threshold.max(), variance.max()),
        }

    def _shrunk(self, variance: Tensor, n: int) -> Tensor:
        a = self._share_of_mean(variance.sum(), variance.square().sum(), n, len(variance))
        return (1 - a) * variance + a * variance.mean()

    def _operators(self) -> tuple[Tensor, ...]:
        return self.mean, self.basis, self.gain, reciprocal(self.gain)
