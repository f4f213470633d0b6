"""Samples and data as metrics and pictures see them: in data space, this process's share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from gan_modules.protocols import SAMPLE_BLOCK, Sampler


def decoder(trainer: Trainer) -> Callable[[Tensor], Tensor]:
    """The datamodule's map from training space to data space; the identity where it has none."""
    decode: Callable[[Tensor], Tensor] = getattr(getattr(trainer, "datamodule", None), "decode", lambda x: x)
    return decode


def generated(trainer: Trainer, pl_module: LightningModule, n: int, seed: int) -> Iterator[Tensor]:
    """This process's share of samples 0 to ``n`` of the sequence ``seed``, decoded: every ``world_size``-th block."""
    if not isinstance(pl_module, Sampler):
        raise TypeError(f"{type(pl_module).__name__} has no sample(n, *, seed, start), which sample metrics need.")
    decode = decoder(trainer)
    for start in range(trainer.global_rank * SAMPLE_BLOCK, n, trainer.world_size * SAMPLE_BLOCK):
        yield decode(pl_module.sample(min(SAMPLE_BLOCK, n - start), seed=seed, start=start))


def training_reals(trainer: Trainer, n: int) -> Iterator[Tensor]:
    """This process's share of ``n`` training reals, decoded, where the datamodule gives them in a fixed order."""
    reals = getattr(getattr(trainer, "datamodule", None), "reals", None)
    left = len(range(trainer.global_rank, n, trainer.world_size))
    if reals is None:
        return
    decode = decoder(trainer)
    for real, *_ in reals("train"):
        if left <= 0:
            return
        yield decode(real[:left])
        left -= len(real)
