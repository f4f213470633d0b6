"""The leading singular values of every layer of both players."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gan_modules.dynamics import LINEAR_LAYERS, leading_singular_values
from gan_modules.protocols import PLAYER_NAMES, Game


class WeightSpectrum(Callback):
    """Logs ``sigma/<layer>`` at every validation: the largest singular value of each linear and convolution layer.

    ``sigma/<layer>/2`` and on are the next ones. A layer is named by its path, for instance
    ``sigma/discriminator.hidden.0``. Growing values in D go with exploding gradients, a gap that opens between the
    first and the rest with spectral collapse (Liu et al., 2019).

    Args:
        k: how many singular values of each layer.
    """

    def __init__(self, k: int = 3) -> None:
        if k < 1:
            raise ValueError(f"WeightSpectrum(k={k}): k must be at least 1.")
        self.k = k
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._vectors: dict[str, Tensor] = {}
        self._handles: list[RemovableHandle] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Learn the shape of every layer's input from the first forward that reaches it."""
        for name, layer in _layers(pl_module).items():
            self._handles.append(layer.register_forward_pre_hook(self._shape_recorder(name)))

    def _shape_recorder(self, name: str) -> Any:
        def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._shapes.setdefault(name, tuple(inputs[0].shape[1:]))

        return hook

    def _remove_hooks(self) -> None:
        while self._handles:
            self._handles.pop().remove()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        self._remove_hooks()  # one iteration reaches every layer

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self._remove_hooks()
        pl_module.log_dict(self._singular_values(pl_module))

    def _singular_values(self, pl_module: LightningModule) -> dict[str, float]:
        logged: dict[str, float] = {}
        for name, layer in _layers(pl_module).items():
            if name not in self._shapes:
                continue  # a layer that no forward reached acts on nothing
            training = layer.training
            layer.eval()  # a spectral normalisation must not iterate here
            values, vectors = leading_singular_values(layer, self._shapes[name], self.k, start=self._vectors.get(name))
            layer.train(training)
            self._vectors[name] = vectors
            for i, value in enumerate(values.tolist()):
                logged[f"sigma/{name}" if i == 0 else f"sigma/{name}/{i + 1}"] = value
        return logged

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._remove_hooks()


def _layers(pl_module: LightningModule) -> dict[str, nn.Module]:
    if not isinstance(pl_module, Game):
        raise TypeError(f"WeightSpectrum needs a game with two players; {type(pl_module).__name__} has none.")
    return {
        f"{player}.{name}".rstrip("."): layer
        for player, network in zip(PLAYER_NAMES, pl_module.players, strict=True)
        for name, layer in network.named_modules()
        if isinstance(layer, LINEAR_LAYERS)
    }
