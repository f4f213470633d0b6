"""One-pass first and second moments of a stream of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from typing_extensions import Self

# A chunk is the largest number of rows up to ROWS that hold at most ELEMENTS float64 numbers (32 MiB): enough rows for
# a matrix product at full speed, few enough for images of any size.
ROWS, ELEMENTS = 1024, 2**22


def squares(x: Tensor) -> Tensor:
    """sum_n x_n^2, coordinate by coordinate: (N, *shape) to (*shape)."""
    return x.square().sum(0)


def outer_products(x: Tensor) -> Tensor:
    """sum_n x_n x_n^T: (N, *shape) to (d, d)."""
    rows = x.flatten(1)
    products: Tensor = rows.T @ rows
    return products


def cross_spectra(x: Tensor) -> Tensor:
    """sum_n X_n(f) X_n(f)^H with X the orthonormal half-plane Fourier transform: (N, C, H, W) to (H, W // 2 + 1, C, C).

    Complex, and linear in the rows' outer products as the other two are; channel c's spectrum is on the diagonal.
    """
    spectrum = torch.fft.rfft2(x, norm="ortho").permute(2, 3, 1, 0)
    products: Tensor = spectrum @ spectrum.mH
    return products


class Moments:
    """Mean and second central moments of samples seen batch by batch, in float64.

    Whatever the sizes of batches, samples are regrouped into chunks of a fixed number of rows, so that a stream gives
    the same bits however it is cut. Samples are shifted by the first one, each chunk is centred on its own mean and
    then merged (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    1979): large means cost no digits, and a constant coordinate has variance 0 exactly.

    Args:
        products: sum over rows (N, *shape) of a map that is quadratic in a row: what kind of second moment to keep.
        check_shape: called once with the shape of a sample before anything is allocated; raises where it is refused.

    Attributes:
        count: number of samples seen.
        shape: shape of one sample, None before the first; d is its number of elements.
        epsilon: of the coarsest dtype seen.
        origin: the first sample, (*shape).
        offset: mean minus origin, (*shape).
        scatter: products of the centred samples.
    """

    origin: Tensor
    offset: Tensor
    scatter: Tensor
    _chunk: Tensor

    def __init__(
        self, products: Callable[[Tensor], Tensor], check_shape: Callable[[tuple[int, ...]], None] = lambda shape: None
    ) -> None:
        self.products, self.check_shape = products, check_shape
        self.count, self.epsilon = 0, 0.0
        self.shape: tuple[int, ...] | None = None
        self._filled = 0

    def consume(self, stream: Iterable[Tensor]) -> Self:
        """Take in every batch of the stream; a Tensor is one batch.

        Raises:
            ValueError: a batch without batch dimension, of integers, or of another sample shape than before; NaN or
                infinity, with the sample's index in the stream; what check_shape raises.
        """
        for batch in [stream] if isinstance(stream, Tensor) else stream:
            self._check(batch)
            if len(batch):
                self._update(batch)
        self._merge_chunk()
        return self

    @property
    def mean(self) -> Tensor:
        """Mean, (*shape), in units of the data."""
        return self.origin + self.offset

    @property
    def covariance(self) -> Tensor:
        """Unbiased second moments, scatter / (count - 1), in squared units of the data."""
        return self.scatter / (self.count - 1)

    def resolution(self, variance: Tensor) -> Tensor:
        """Variance that rounding to the data's own dtype may feign in each coordinate: (eps * rms)^2, (*shape)."""
        return self.epsilon**2 * (self.mean.square() + variance.reshape(self.offset.shape))

    def _check(self, batch: Tensor) -> None:
        if batch.ndim < 2 or not batch.is_floating_point():
            raise ValueError(
                f"expected floating-point batches (N, *shape), got shape {tuple(batch.shape)} of {batch.dtype}; "
                "add a batch dimension or convert with .float()"
            )
        shape = tuple(batch.shape[1:])
        if self.shape is not None and shape != self.shape:
            raise ValueError(
                f"samples of shape {shape} after samples of shape {self.shape}; all batches of a stream need one "
                "sample shape"
            )

    def _update(self, batch: Tensor) -> None:
        if self.shape is None:
            self._begin(batch)
        self.epsilon = max(self.epsilon, torch.finfo(batch.dtype).eps)
        while len(batch):
            rows = min(len(self._chunk) - self._filled, len(batch))
            self._chunk[self._filled : self._filled + rows] = batch[:rows]
            batch, self._filled = batch[rows:], self._filled + rows
            if self._filled == len(self._chunk):
                self._merge_chunk()

    def _begin(self, batch: Tensor) -> None:
        shape = tuple(batch.shape[1:])
        self.check_shape(shape)
        self.shape = shape
        device = "cpu" if batch.device.type == "mps" else batch.device  # which has no float64
        rows = max(1, min(ROWS, ELEMENTS // max(1, batch[0].numel())))
        self._chunk = torch.empty(rows, *shape, dtype=torch.float64, device=device)
        self.origin = batch[0].detach().to(self._chunk, copy=True)
        self.offset = torch.zeros_like(self.origin)

    def _merge_chunk(self) -> None:
        x, self._filled = self._chunk[: self._filled] if self._filled else None, 0
        if x is None:
            return
        self._check_finite(x)
        x = x - self.origin
        mean, share = x.mean(0), len(x) / (self.count + len(x))
        delta = mean - self.offset
        # the deviation of the chunk's mean counts as one more row of weight n m / (n + m) = count * share
        scatter = self.products(torch.cat([x - mean, (self.count * share) ** 0.5 * delta[None]]))
        self.scatter = scatter if self.count == 0 else self.scatter.add_(scatter)
        self.offset += delta * share
        self.count += len(x)

    def _check_finite(self, x: Tensor) -> None:
        if (finite := x.isfinite()).all():
            return
        bad = (~finite).flatten(1).sum(1)
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"sample {self.count + row} of the stream (counted from 0) holds {int(bad[row])} NaN or infinite values; "
            "drop or repair it"
        )
