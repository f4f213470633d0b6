"""Whitening in the axes of largest variance, and of fewer dimensions if so wished."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import pad

from datamodules.whitening.eigen import EigenvalueWhitening
from datamodules.whitening.moments import Moments


class PCAWhitening(EigenvalueWhitening):
    """Principal components, y = diag(gain) U^T (x - mean): samples (N, *shape) to (N, rank), d where rank is None.

    Components are in order of falling variance, each eigenvector with its component of largest modulus positive, so
    that a fit can be repeated. The shape is known before fitting: where fewer directions than that have variance, the
    last components are zero. Arguments, gains and empty directions are those of EigenvalueWhitening.
    """

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(rank,)."""
        if self.fitted:  # a loaded state may be of another rank than the constructor's
            return (len(self.gain),)
        return (math.prod(shape) if self.rank is None else self.rank,)

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        found = super()._solve(moments)
        empty = (self.rank or moments.mean.numel()) - len(found["gain"])
        return found | {name: pad(found[name], (0, empty)) for name in ("basis", "variance", "gain")}

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, gain, _ = operators
        return (x - mean).flatten(1) @ basis * gain

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, _, inverse_gain = operators
        return ((y * inverse_gain) @ basis.T).reshape(len(y), *mean.shape) + mean
