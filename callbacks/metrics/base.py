"""What the metrics of this package add to torchmetrics: states that stay exact, and reals that outlive ``reset``."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric


class SampleMetric(Metric, ABC):
    """A metric of generated samples, perhaps against real ones.

    Subclasses keep what they know of real samples in states named ``real_*``, everything else in others, all of them
    with a reduction. States keep their dtype (float64 or int64) when a module that holds the metric is cast, and do
    not enter its ``state_dict``.

    Args:
        reset_real_features: whether ``reset`` forgets the reals too. With False they are seen once and serve every
            evaluation.
        kwargs: as of ``torchmetrics.Metric``. ``compute_with_cache`` is False by default: a process without new data
            would return its last value and leave the others waiting for it.
    """

    is_differentiable = False
    full_state_update = False
    plot_lower_bound = 0.0

    def __init__(self, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(**{"compute_with_cache": False} | kwargs)
        if not isinstance(reset_real_features, bool):
            raise ValueError(f"reset_real_features={reset_real_features!r} must be True or False.")
        self.reset_real_features = reset_real_features

    def reset(self) -> None:
        """Forget the generated samples, and the reals too if ``reset_real_features``."""
        keeps = [] if self.reset_real_features else [name for name in self._defaults if name.startswith("real_")]
        kept = {name: getattr(self, name) for name in keeps}
        super().reset()
        for name, value in kept.items():
            setattr(self, name, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Accumulate a batch as ``update`` does, and return the value of that batch against all reals seen so far.

        torchmetrics' own would forget the reals before it computes, or, where they are cached, count them twice.

        Raises:
            ValueError: the batch alone has no value (reals, too few samples). It has been accumulated nevertheless.
        """
        self.update(*args, **kwargs)
        alone = self.clone()
        alone.reset_real_features = False
        alone.reset()
        alone.update(*args, **kwargs)
        alone._to_sync = self.dist_sync_on_step
        self._forward_cache = alone.compute()
        return self._forward_cache

    @contextmanager
    def sync_context(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: Any | None = None,
        should_sync: bool = True,
        should_unsync: bool = True,
        distributed_available: Callable[..., Any] | None = None,
    ) -> Generator[None, None, None]:
        """As torchmetrics', except that an error inside leaves this process its own state, not that of all."""
        self.sync(dist_sync_fn, process_group, should_sync, distributed_available)
        try:
            yield
        finally:
            self.unsync(should_unsync=self._is_synced and should_unsync)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        def move(tensor: Tensor) -> Tensor:
            device = fn(torch.empty(0, device=tensor.device)).device
            has_float64 = device.type != "mps"
            return tensor.to(device) if has_float64 or tensor.dtype != torch.float64 else tensor

        return super()._apply(move, exclude_state)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw ``val``, a value or a list of values, or else what ``compute`` gives; needs matplotlib."""
        return self._plot(val, ax)
