"""Zero mean and unit variance, coordinate by coordinate."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments


class Standardize(Whitening):
    """(x - mean) / std in each coordinate, with the unbiased variance.

    It repairs scales, not correlations: a rotated ill-conditioned covariance stays ill-conditioned. A coordinate whose
    variance is below what rounding of the data's dtype may feign, (eps * rms)^2, counts as constant and gets std 0.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "std")
    std: Tensor

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        variance = moments.covariance
        std = torch.where(variance > moments.resolution, variance, 0).sqrt()
        return {"mean": moments.mean.reshape(moments.shape), "std": std.reshape(moments.shape)}

    def _operators(self) -> tuple[Tensor, ...]:
        inverse_std = torch.where(self.std > 0, 1 / self.std, 0)
        return self.mean, self.std, inverse_std

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, _, inverse_std = operators
        return (x - mean) * inverse_std

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, std, _ = operators
        return y * std + mean
