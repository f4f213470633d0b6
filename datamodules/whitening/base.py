"""The contract of every whitening."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from datamodules.whitening.moments import Moments, squares
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.sharded import consume_sharded, joined, solved_once


class Whitening(nn.Module, ABC):
    """An affine map fitted on training data, with its inverse.

    `fit` reads the data once; `forward` maps samples (N, *shape) to the space a game is trained in,
    (N, *output_shape(shape)), `inverse` maps back. Both keep dtype; they work in the input's dtype (float32 for 16-bit
    input), outside of autocast, on the input's device. Statistics are float64 buffers that exist once fitted: a fresh
    module loads a fitted state, and what it loads replaces what its constructor arguments would have given, which then
    are those of the next fit. `report` is computed from the statistics.

    Directions without variance in the data carry no signal: they map to zero, and come back as the mean. So
    `inverse(forward(x))` is the projection of x on the directions that are kept, up to rounding in the input's dtype.

    A subclass names its buffers in `statistics`, its second moments in `products`, and implements `_solve`,
    `_operators`, `_forward`, `_inverse` and `report`; one that changes shapes or refuses some, `output_shape` and
    `check_shape`.
    """

    statistics: ClassVar[tuple[str, ...]] = ()
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in self.statistics:
            self.register_buffer(name, None)
        self._casts: dict[tuple[torch.dtype, torch.device], tuple[Tensor, ...]] = {}

    @property
    def fitted(self) -> bool:
        """Whether the statistics are there, fitted or loaded."""
        return all(getattr(self, name) is not None for name in self.statistics)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the samples it was fitted on; None where every shape is mapped."""
        return tuple(self.mean.shape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a sample in training space, given that in data space; known before fitting."""
        return tuple(shape)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse, from the shape alone, samples that could not be fitted; `fit` calls it on the first batch.

        Raises:
            ValueError: a shape that the whitening does not map, or whose fit would not go into memory.
        """

    @torch.no_grad()
    def fit(self, stream: Iterable[Tensor], *, sharded: bool = False) -> Self:
        """Estimate the statistics in one pass over batches (N, *shape); a Tensor is one batch.

        The statistics do not depend on how the stream is cut into batches, bit for bit.

        Args:
            stream: the data; with `sharded`, this process's share of it, which may be empty.
            sharded: merge the shares of all processes of torch.distributed, which must all call: the statistics are
                those of the whole up to rounding, and bit for bit the same on each. Without a process group there is
                one share.

        Raises:
            ValueError: too few samples, NaN or infinity (with the index of the sample), integers, batches of different
                sample shapes, or what `check_shape` refuses.
            RuntimeError: it failed on another process.
        """
        # A fit may be asked for from inside a validation loop; inference tensors could never meet autograd later.
        with torch.inference_mode(False):
            moments = Moments(self.products, self.check_shape)
            if sharded and joined():
                consume_sharded(moments, stream)
                self._check_count(moments)
                found = solved_once(lambda: self._solve(moments))
            else:
                self._check_count(moments.consume(stream))
                found = self._solve(moments)
            for name, value in found.items():
                setattr(self, name, value)
        self._casts.clear()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Data space to training space, (N, *shape) to (N, *output_shape(shape)).

        Raises:
            RuntimeError: not fitted.
            ValueError: another sample shape than in `fit`, or integers.
        """
        return self._evaluate(self._forward, self._check(x, lambda shape: shape))

    def inverse(self, y: Tensor) -> Tensor:
        """Training space to data space, (N, *output_shape(shape)) to (N, *shape); raises as `forward` does."""
        return self._evaluate(self._inverse, self._check(y, self.output_shape))

    @staticmethod
    def products(x: Tensor) -> Tensor:
        """Second moments that the statistics need, summed over rows (N, *shape): squares by default."""
        return squares(x)

    @abstractmethod
    def report(self) -> WhiteningReport:
        """What the fitted map keeps, drops and repairs, from the statistics alone.

        Raises:
            RuntimeError: not fitted.
        """

    @abstractmethod
    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        """The statistics, float64, by name; the one called mean has the sample's shape."""

    @abstractmethod
    def _operators(self) -> tuple[Tensor, ...]:
        """What `_forward` and `_inverse` take after their input, computed from the statistics in float64."""

    @abstractmethod
    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor: ...

    @abstractmethod
    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor: ...

    def _check_count(self, moments: Moments) -> None:
        if moments.count < 2:
            raise ValueError(f"a covariance needs at least 2 samples, the stream had {moments.count}; pass more data")

    def _evaluate(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return function(x.to(dtype), *self._cast(dtype, x.device)).to(x.dtype)

    @torch.no_grad()
    def _cast(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        if (dtype, device) not in self._casts:
            with torch.inference_mode(False):
                self._casts[dtype, device] = tuple(t.to(device=device, dtype=dtype) for t in self._operators())
        return self._casts[dtype, device]

    def _check(self, x: Tensor, space: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Tensor:
        self._check_fitted()
        if not x.is_floating_point():
            raise ValueError(f"{type(self).__name__} maps floating-point samples, got {x.dtype}; convert with .float()")
        if self.shape is not None and tuple(x.shape[1:]) != (expected := space(self.shape)):
            raise ValueError(
                f"{type(self).__name__} was fitted on samples of shape {self.shape}; expected a batch of shape "
                f"(N, *{expected}), got {tuple(x.shape)}"
            )
        return x

    def _check_fitted(self) -> None:
        if not self.fitted:
            raise RuntimeError(
                f"{type(self).__name__} is not fitted; call fit(stream) or load the state of a fitted one"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Allocate the buffers that torch would otherwise skip: a None buffer is not loaded."""
        self._casts.clear()
        given = [name for name in self.statistics if prefix + name in state_dict]
        with torch.inference_mode(False):  # as in fit
            for name in given:
                setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        if given:
            missing_keys: list[str] = args[2]
            missing_keys.extend(prefix + n for n in self.statistics if n not in given and getattr(self, n) is None)
        super()._load_from_state_dict(state_dict, prefix, *args)
