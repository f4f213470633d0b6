"""Samples and data as metrics and pictures see them: in data space, this process's share of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from gan_modules.protocols import SAMPLE_BLOCK, Sampler

#: a batch in data space: samples (N, *shape), labels (N,) or None, and the samples' numbers (N,)
Numbered = tuple[Tensor, Tensor | None, Tensor]


def decoder(trainer: Trainer) -> Callable[[Tensor], Tensor]:
    """The datamodule's map from training space to data space; the identity where it has none."""
    decode: Callable[[Tensor], Tensor] = getattr(getattr(trainer, "datamodule", None), "decode", lambda x: x)
    return decode


def sampler(pl_module: LightningModule) -> Sampler:
    """The module, which must be able to generate.

    Raises:
        TypeError: it has no ``sample``.
    """
    if not isinstance(pl_module, Sampler):
        raise TypeError(
            f"{type(pl_module).__name__} has no sample(n, *, seed, start) -> Tensor, by which pictures and metrics get "
            "generated samples: add the method, or leave these callbacks out."
        )
    return pl_module


def generated(
    trainer: Trainer, pl_module: LightningModule, n: int, seed: int, averaged: bool = True
) -> Iterator[Numbered]:
    """This process's share of samples 0 to ``n`` of the sequence ``seed``, decoded: every ``world_size``-th block.

    ``averaged=False`` asks the generator itself rather than its running average, which ``sample(ema=False)`` is for.
    """
    given: dict[str, Any] = {} if averaged else {"ema": False}
    classes = getattr(pl_module, "num_classes", None)
    decode = decoder(trainer)
    for start in range(trainer.global_rank * SAMPLE_BLOCK, n, trainer.world_size * SAMPLE_BLOCK):
        index = torch.arange(start, min(start + SAMPLE_BLOCK, n))
        samples = decode(sampler(pl_module).sample(len(index), seed=seed, start=start, **given))
        labels = None if classes is None else (index % classes).to(samples.device)  # as ``sample`` takes them
        yield samples, labels, index


def has_reals(trainer: Trainer) -> bool:
    """Whether the datamodule gives its splits in data space at any time."""
    return hasattr(getattr(trainer, "datamodule", None), "reals")


def reals(trainer: Trainer, split: str, n: int | None = None) -> Iterator[Numbered]:
    """This process's share of a split, or of ``n`` rows spread over it, in data space: every ``world_size``-th row."""
    seen = 0
    for samples, labels in trainer.datamodule.reals(split, space="data", n=n):  # type: ignore[attr-defined]
        yield samples, labels, (seen + torch.arange(len(samples))) * trainer.world_size + trainer.global_rank
        seen += len(samples)
