"""The contract of every whitening."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import Self

from datamodules.whitening.moments import Moments


class Whitening(nn.Module, ABC):
    """An affine map fitted on training data, with its inverse.

    `fit` reads the data once; `forward` maps samples (N, *shape) to the space a game is trained in, `inverse` maps
    back. Both keep shape and dtype; they work in the input's dtype (float32 for 16-bit input), outside of autocast, on
    the input's device. Statistics are float64 buffers that exist once fitted: a fresh module loads a fitted state, and
    what it loads replaces its constructor arguments.

    Directions without variance in the data carry no signal: they map to zero, and come back as the mean. On the span
    of the data, `inverse(forward(x))` is x up to rounding in the input's dtype.

    A subclass names its buffers in `statistics` and implements `_solve`, `_operators`, `_forward` and `_inverse`.
    """

    statistics: ClassVar[tuple[str, ...]] = ()
    full_covariance: ClassVar[bool] = False
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

    @torch.no_grad()
    def fit(self, stream: Iterable[Tensor]) -> Self:
        """Estimate the statistics in one pass over batches (N, *shape) of any sizes; a Tensor is one batch.

        Raises:
            ValueError: fewer than 2 samples, NaN or infinity, integer data, or batches of different sample shapes.
        """
        # A fit may be asked for from inside a validation loop; inference tensors could never meet autograd later.
        with torch.inference_mode(False):
            batches = [stream] if isinstance(stream, Tensor) else stream
            for name, value in self._solve(Moments(self.full_covariance).consume(batches)).items():
                setattr(self, name, value)
        self._casts.clear()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Data space to training space, (N, *shape) to (N, *shape).

        Raises:
            RuntimeError: not fitted.
            ValueError: another sample shape than in `fit`, or integers.
        """
        return self._evaluate(self._forward, x)

    def inverse(self, y: Tensor) -> Tensor:
        """Training space to data space, (N, *shape) to (N, *shape); raises as `forward` does."""
        return self._evaluate(self._inverse, y)

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

    def _evaluate(self, function: Callable[..., Tensor], x: Tensor) -> Tensor:
        self._check(x)
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return function(x.to(dtype), *self._cast(dtype, x.device)).to(x.dtype)

    @torch.no_grad()
    def _cast(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        if (dtype, device) not in self._casts:
            with torch.inference_mode(False):
                self._casts[dtype, device] = tuple(t.to(device=device, dtype=dtype) for t in self._operators())
        return self._casts[dtype, device]

    def _check(self, x: Tensor) -> None:
        name = type(self).__name__
        if not self.fitted:
            raise RuntimeError(f"{name} is not fitted; call fit(stream) or load the state of a fitted one")
        if not x.is_floating_point():
            raise ValueError(f"{name} maps floating-point samples, got {x.dtype}; convert with .float()")
        self._check_shape(x)

    def _check_shape(self, x: Tensor) -> None:
        if x.shape[1:] != self.mean.shape:
            raise ValueError(
                f"{type(self).__name__} was fitted on samples of shape {tuple(self.mean.shape)}, got a batch of shape "
                f"{tuple(x.shape)}"
            )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Allocate the buffers that torch would otherwise skip: a None buffer is not loaded."""
        self._casts.clear()
        given = [name for name in self.statistics if prefix + name in state_dict]
        for name in given:
            setattr(self, name, torch.empty_like(state_dict[prefix + name]))
        if given:
            missing_keys: list[str] = args[2]
            missing_keys.extend(prefix + n for n in self.statistics if n not in given and getattr(self, n) is None)
        super()._load_from_state_dict(state_dict, prefix, *args)
