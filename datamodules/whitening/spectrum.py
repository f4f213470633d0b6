"""What whitenings by eigenvalues share: gains, the floor of variances, the signs of eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SpectralGain:
    """(s + epsilon)^(-power / 2), what a direction of variance s is multiplied by; 0 where s is 0.

    Args:
        power: in [0, 1]: 0 only centres, 1 makes the covariance the identity.
        epsilon: >= 0, in squared units of the data.

    Raises:
        ValueError: power outside [0, 1], or epsilon negative or not finite.
    """

    power: float
    epsilon: float

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise ValueError(f"power must lie in [0, 1] (0 centres, 1 whitens), got {self.power}")
        if not 0 <= self.epsilon < float("inf"):
            raise ValueError(f"epsilon must be a finite variance >= 0, got {self.epsilon}")

    def __call__(self, variance: Tensor) -> Tensor:
        """Gains of variances of any shape."""
        return torch.where(variance > 0, (variance + self.epsilon).pow(-self.power / 2), 0)


def reciprocal(gain: Tensor) -> Tensor:
    """1 / gain; 0 where the gain is 0: what is left out comes back as the mean."""
    return torch.where(gain > 0, 1 / gain, 0)


def variance_floor(variance: Tensor, rounding: Tensor) -> Tensor:
    """The variance at or below which a direction counts as empty, of the d eigenvalues (..., d) of each matrix.

    Either d * eps64 * max(s), which is what the solver can tell from zero, or what rounding of the data's dtype may
    feign there, whichever is larger.
    """
    solver = variance.shape[-1] * torch.finfo(variance.dtype).eps * variance.amax(-1, keepdim=True)
    return torch.maximum(solver, rounding)


def share(part: Tensor, total: Tensor) -> Tensor:
    """A part of a total, in [0, 1]; 0 of nothing."""
    return torch.where(total > 0, part / total, 0).clamp(0, 1)


def with_fixed_signs(basis: Tensor) -> Tensor:
    """Eigenvectors in the columns of (..., d, k), each with its component of largest modulus real and positive."""
    pivot = basis.gather(-2, basis.abs().argmax(-2, keepdim=True))
    return basis * pivot.sgn().conj()
