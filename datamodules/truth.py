"""What a synthetic data set knows about itself."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Truth(Protocol):
    """Exact knowledge of a distribution's modes, in data space; samples are (N, d)."""

    @property
    def num_modes(self) -> int:
        """Number of distinct modes K."""
        ...

    def assign(self, x: Tensor) -> Tensor:
        """Index of each sample's mode in [0, K), or -1 for a sample of no mode: (N,) int64."""
        ...

    def log_density(self, x: Tensor) -> Tensor:
        """Log density of the distribution at each sample, in nats: (N,)."""
        ...
