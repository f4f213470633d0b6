"""Zero mean and unit variance, coordinate by coordinate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.spectrum import reciprocal, share


class Standardize(Whitening):
    """(x - mean) / std in each coordinate, with the unbiased variance; O(d) memory, O(d) time a sample.

    It repairs scales, not correlations: a rotated ill-conditioned covariance stays ill-conditioned. A coordinate whose
    variance is below what rounding of the data's dtype may feign, (eps * rms)^2, counts as constant and gets std 0.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "std", "dropped", "floor")
    std: Tensor
    dropped: Tensor
    floor: Tensor

    def report(self) -> WhiteningReport:
        """Of the covariance's diagonal: correlations are not seen."""
        self._check_fitted()
        return WhiteningReport.of(
            self.std.numel(), self.std.square(), reciprocal(self.std), dropped=self.dropped, floor=self.floor
        )

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        variance = moments.covariance
        rounding = moments.resolution(variance)
        kept = variance > rounding
        return {
            "mean": moments.mean,
            "std": torch.where(kept, variance, 0).sqrt(),
            "dropped": share(variance[~kept].sum(), variance.sum()),
            "floor": share(rounding.max(), variance.max()),
        }

    def _operators(self) -> tuple[Tensor, ...]:
        return self.mean, self.std, reciprocal(self.std)

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, _, inverse_std = operators
        return (x - mean) * inverse_std

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, std, _ = operators
        return y * std + mean
