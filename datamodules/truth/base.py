"""What a synthetic data set knows about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Floors:
    """What the metrics of modes score on n samples of the distribution itself: no generator does better on average.

    Attributes:
        modes: expected number of modes with at least one sample.
        high_quality: share of samples that belong to a mode.
        mode_kl: expected KL divergence of the sampled modes' frequencies from their weights, in nats, to leading order
            in 1/n: (K - 1) / (2 n), whatever the weights (half a chi-squared variable of K - 1 degrees of freedom).
    """

    modes: float
    high_quality: float
    mode_kl: float


def normalised_weights(weights: Tensor | None, modes: int) -> Tensor:
    """Probabilities of the modes, (K,) float64, from positive weights up to a common factor; equal where None.

    Raises:
        ValueError: weights that are not positive and finite, or not (K,).
    """
    if weights is None:
        return torch.full((modes,), 1 / modes, dtype=torch.float64)
    if weights.shape != (modes,) or not ((weights > 0) & weights.isfinite()).all():
        raise ValueError(f"weights must be positive and of shape ({modes},), got {weights}")
    return weights.double() / weights.double().sum()


def most_likely(log_joint: Tensor, within: Tensor) -> Tensor:
    """The mode of largest log_joint, (N, K), among those that a sample is `within`, (N, K) bool; -1 without any."""
    best, mode = log_joint.masked_fill(~within, -torch.inf).max(1)
    return torch.where(best > -torch.inf, mode, -1)


class Truth(ABC):
    """A distribution known exactly, in data space: samples are (N, d), results float64.

    A subclass sets `dimension` (d), `weights` (K,) float64, normalised, and `high_quality`, the mass that lies near
    enough to a mode to belong to it, and implements `assign`, `log_density` and `sample`.
    """

    dimension: int
    weights: Tensor
    high_quality: float

    @property
    def num_modes(self) -> int:
        """Number of distinct modes K."""
        return len(self.weights)

    @abstractmethod
    def assign(self, x: Tensor) -> Tensor:
        """Index of each sample's mode in [0, K), or -1 for a sample of no mode (also for NaN): (N,) int64.

        Raises:
            ValueError: samples not of shape (N, d).
        """

    @abstractmethod
    def log_density(self, x: Tensor) -> Tensor:
        """Log density at samples (N, d), in nats, with respect to volume: (N,) float64; raises as `assign` does."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw n samples, (n, d) float64, and the modes they were drawn from, (n,) int64, from a CPU generator."""

    def floors(self, n: int) -> Floors:
        """What n of the distribution's own samples are expected to score.

        Raises:
            ValueError: n is not positive.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        missed = (1 - self.high_quality * self.weights) ** n
        return Floors(float((1 - missed).sum()), self.high_quality, (self.num_modes - 1) / (2 * n))

    def _by_block(self, x: Tensor, rows: int, function: Callable[[Tensor], Tensor]) -> Tensor:
        """A function of float64 samples, applied to so many rows at a time, which bounds the memory it takes."""
        self._check(x)
        return torch.cat([function(block.double()) for block in torch.split(x, rows)])

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"expected samples of shape (N, {self.dimension}), got {tuple(x.shape)}")
