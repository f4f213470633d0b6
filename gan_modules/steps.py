"""The small parts of a training step: handles that count, a player that is frozen, layers of chance, the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gan_modules.batch import key
from gan_modules.dynamics import OptimizerHandle

if TYPE_CHECKING:
    from gan_modules.base import GameModule


class CountedHandle(OptimizerHandle):
    """Moves a player. The iteration's first step is the one that Lightning counts, so that global_step = iterations."""

    game: GameModule

    @property
    def gradient(self) -> Tensor:
        return super().gradient

    @gradient.setter
    def gradient(self, value: Tensor) -> None:
        if self.game.trainer.precision == "16-mixed":
            raise ValueError(
                f"{self.game.rule} computes gradients of its own, which precision='16-mixed' would unscale: use "
                "'bf16-mixed' or '32-true'."
            )
        OptimizerHandle.gradient.fset(self, value)  # type: ignore[attr-defined]

    def _apply(self) -> None:
        module = self.game
        if module.counted:
            module.trainer.strategy.optimizer_step(self.optimizer, closure=_nothing)
        else:
            module.optimizer_handles()[self.player].step()
            module.counted = True


@contextmanager
def frozen(player: nn.Module) -> Iterator[None]:
    """No gradient for the player's parameters."""
    parameters = [p for p in player.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


@contextmanager
def unchanged_buffers(network: nn.Module) -> Iterator[None]:
    """Forwards within count for nothing: batch statistics and power iterations go into copies of the buffers."""
    buffers = [(m, name, b) for m in network.modules() for name, b in m._buffers.items() if b is not None]
    # not written back in place, which would invalidate a graph that has saved them
    for module, name, buffer in buffers:
        module._buffers[name] = buffer.clone()
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            module._buffers[name] = buffer


@contextmanager
def keyed_layers(seed: int, iteration: int, rank: int) -> Iterator[None]:
    """Layers of chance draw from the global generators: give them numbers keyed by iteration, and put those back."""
    # manual_seed reaches every GPU, so all are forked
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(key(seed, iteration, "layers", rank))
        yield


def _nothing() -> None:
    """The gradient is already there."""


def real_and_labels(batch: Any) -> tuple[Tensor, Tensor | None]:
    """A training batch as real rows and labels or None; raises TypeError where it is neither form."""
    if isinstance(batch, Tensor):
        return batch, None
    if isinstance(batch, list | tuple) and 1 <= len(batch) <= 2 and isinstance(batch[0], Tensor):
        labels = batch[1] if len(batch) == 2 else None
        if labels is None or isinstance(labels, Tensor):
            return batch[0], labels
    raise TypeError(f"A training batch is `real` or `(real, labels)`, tensors; got {type(batch).__name__}.")
