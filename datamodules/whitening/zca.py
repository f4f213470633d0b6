"""Whitening in the data's own axes, in full or in part."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments


class ZCAWhitening(Whitening):
    """Zero-phase whitening, y = U diag((s + epsilon)^(-power/2)) U^T (x - mean), with covariance U diag(s) U^T.

    Of all whitenings this one stays closest to the data (Bell and Sejnowski, "The 'independent components' of natural
    scenes are edge filters", 1997; Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", 2018), so images
    still look like images. With epsilon 0, a variance s becomes s^(1 - power): the condition number k becomes
    k^(1 - power), so a power between 0 and 1 trades conditioning for the weight that noise directions get.

    A direction u counts as empty, and maps to zero, where its variance is at most d * eps64 * max(s), which is what the
    eigenvalue solver can tell from zero, or at most sum_j u_j^2 (eps rms_j)^2, which is what rounding of the data's
    dtype may feign.

    Args:
        power: in [0, 1]: 0 only centres, 1 makes the covariance the identity.
        epsilon: >= 0, in squared units of the data: added to every variance before it is inverted (Krizhevsky,
            "Learning multiple layers of features from tiny images", 2009). Directions with s << epsilon are kept small
            instead of blown up; the map stays exactly invertible. Shrinking the covariance towards a multiple of the
            identity, (1 - a) S + a m I, is the same map with epsilon = a m / (1 - a), up to one overall scale.

    Raises:
        ValueError: power outside [0, 1], or epsilon negative or not finite.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "basis", "variance", "gain")
    full_covariance: ClassVar[bool] = True
    basis: Tensor
    variance: Tensor
    gain: Tensor

    def __init__(self, power: float = 1.0, epsilon: float = 0.0) -> None:
        super().__init__()
        if not 0 <= power <= 1:
            raise ValueError(f"power must lie in [0, 1] (0 centres, 1 whitens), got {power}")
        if not 0 <= epsilon < float("inf"):
            raise ValueError(f"epsilon must be a finite variance >= 0, got {epsilon}")
        self.power, self.epsilon = power, epsilon

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        variance, basis = torch.linalg.eigh(moments.covariance)
        solver = variance.max() * len(variance) * torch.finfo(variance.dtype).eps
        rounding = moments.resolution @ basis.square()
        kept = variance > torch.maximum(solver, rounding)
        variance = variance[kept]
        return {
            "mean": moments.mean.reshape(moments.shape),
            "basis": basis[:, kept],
            "variance": variance,
            "gain": (variance + self.epsilon).pow(-self.power / 2),
        }

    def _operators(self) -> tuple[Tensor, ...]:
        return self.mean, self.basis, self.gain

    # Two products with the basis instead of one with U diag(gain) U^T: rounding then stays relative to each direction,
    # and the round trip does not lose a factor sqrt(condition number).

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, gain = operators
        return (((x - mean).flatten(1) @ basis * gain) @ basis.T).reshape(x.shape)

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, gain = operators
        return ((y.flatten(1) @ basis / gain) @ basis.T).reshape(y.shape) + mean
