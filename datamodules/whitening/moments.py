"""One-pass first and second moments of a stream of batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from typing_extensions import Self


class Moments:
    """Mean and (co)variance of samples seen batch by batch, in float64.

    Samples are shifted by the first one, each batch is centred on its own mean and then merged (Chan, Golub and
    LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979). So large means cost no
    digits, a constant coordinate has variance 0 exactly, and the batch size does not matter beyond rounding.

    Args:
        full: accumulate the whole covariance, (d, d); otherwise its diagonal, (d,).

    Attributes:
        count: number of samples seen.
        shape: shape of one sample; d is its number of elements.
    """

    def __init__(self, full: bool) -> None:
        self.full = full
        self.count, self.shape = 0, torch.Size()
        self._epsilon = 0.0

    def consume(self, stream: Iterable[Tensor]) -> Self:
        """Update with every batch of the stream.

        Raises:
            ValueError: fewer than two samples in all, or a batch that `update` refuses.
        """
        for batch in stream:
            self.update(batch)
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 samples, the stream had {self.count}; pass more data")
        return self

    def update(self, batch: Tensor) -> None:
        """Merge a batch of floating-point samples, (N, *shape); N may be 0.

        Raises:
            ValueError: no batch dimension, integers, another sample shape than before, NaN or infinity.
        """
        self._check(batch)
        if len(batch) == 0:
            return
        x = batch.flatten(1).double()
        if self.count == 0:
            self.shape, self._origin = batch.shape[1:], x[0].clone()
            self._mean = torch.zeros_like(self._origin)
            self._scatter = torch.zeros_like(torch.outer(self._mean, self._mean) if self.full else self._mean)
        self._epsilon = max(self._epsilon, torch.finfo(batch.dtype).eps)
        self._merge(x - self._origin)

    def _merge(self, x: Tensor) -> None:
        mean, share = x.mean(0), len(x) / (self.count + len(x))
        x, delta = x - mean, mean - self._mean
        within = x.T @ x if self.full else x.square().sum(0)
        between = torch.outer(delta, delta) if self.full else delta.square()
        self._scatter += within + between * (self.count * share)  # share * count = n m / (n + m)
        self._mean += delta * share
        self.count += len(x)

    @property
    def mean(self) -> Tensor:
        """Mean, (d,), in units of the data."""
        return self._origin + self._mean

    @property
    def covariance(self) -> Tensor:
        """Unbiased (divided by count - 1) covariance, (d, d), or variances, (d,), in squared units of the data."""
        return self._scatter / (self.count - 1)

    @property
    def resolution(self) -> Tensor:
        """Variance that rounding to the data's own dtype may feign in each coordinate, (d,): (eps * rms)^2."""
        variance = self.covariance.diagonal() if self.full else self.covariance
        return self._epsilon**2 * (self.mean.square() + variance)

    def _check(self, batch: Tensor) -> None:
        if batch.ndim < 2 or not batch.is_floating_point():
            raise ValueError(
                f"expected floating-point batches (N, *shape), got shape {tuple(batch.shape)} of {batch.dtype}; "
                "add a batch dimension or convert with .float()"
            )
        if self.count and batch.shape[1:] != self.shape:
            raise ValueError(
                f"samples of shape {tuple(batch.shape[1:])} after samples of shape {tuple(self.shape)}; "
                "all batches of a stream need one sample shape"
            )
        if bad := int((~batch.isfinite()).sum()):
            raise ValueError(f"{bad} of {batch.numel()} values in a batch are NaN or infinite; clean the data first")
