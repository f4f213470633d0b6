"""What a discriminator says of training rows, of held-out ones and of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from gan_modules.discriminator_pass import call, rows_per_logit
from gan_modules.gan import GANModule
from gan_modules.protocols import DISCRIMINATOR
from gan_modules.steps import frozen

Labelled = tuple[Tensor, Tensor | None]

#: rows of each kind, over all processes, and numbers that they may have
ROWS, NUMBERS = 512, 2**24
#: rows that D sees at a time, where the batch is smaller
CHUNK = 64


def rows_to_judge(trainer: Trainer, batch: Labelled) -> dict[str, Labelled]:
    """Training rows ("train") and held-out ones ("held_out") in training space, as many on each process.

    They are spread over the splits of the run's datamodule. Without one that hands out ``reals`` there are those of the
    batch alone.
    """
    datamodule: Any = getattr(trainer, "datamodule", None)
    if not hasattr(datamodule, "reals"):
        return {"train": batch}
    like = batch[0]
    n = max(1, min(ROWS, NUMBERS // like[0].numel()))
    found: dict[str, Labelled] = {}
    for split, name in (("train", "train"), ("val", "held_out")):
        parts = list(datamodule.reals(split, space="training", n=n))
        own = torch.tensor(sum(len(real) for real, _ in parts), device=like.device)
        least = int(trainer.strategy.all_gather(own).min())  # D's layers may see the rows of all processes
        if least:
            labels = [labels for _, labels in parts if labels is not None]
            real = torch.cat([real for real, _ in parts])[:least].to(like)
            found[name] = real, torch.cat(labels)[:least].to(like.device) if labels else None
    return found


def judge(module: GANModule, rows: Labelled, iteration: int, chunk: int) -> tuple[Tensor, Tensor]:
    """The critic's values at real rows and at as many samples, as D sees them in its own loss: two of (n,), float64.

    Chunk by chunk, for rows of a batch may see each other; what does not fill a chunk is left out.
    """
    real, labels = rows
    per_logit = rows_per_logit(module.discriminator)
    size = min(chunk, len(real)) // per_logit * per_logit
    starts = range(0, len(real) - size + 1, size) if size else range(0)
    values: tuple[list[Tensor], list[Tensor]] = ([], [])
    with frozen(module.generator), frozen(module.discriminator):  # no graph is needed
        for i, start in enumerate(starts):
            part = slice(start, start + size)
            batch = module.game_batch(real[part], None if labels is None else labels[part], iteration=iteration + i)
            d = module.discriminator_pass(DISCRIMINATOR, batch, call(module.generator, batch.z, batch.labels))
            for kept, logits in zip(values, (d.real_logits, d.fake_logits), strict=True):
                value = module.loss.critic(logits, d).detach()
                kept.append(value.reshape(len(value), -1).float().mean(1).cpu().double())
    first, second = (torch.cat(kept) if kept else torch.zeros(0, dtype=torch.float64) for kept in values)
    return first, second


def auc(real: Tensor, fake: Tensor) -> float:
    """P(real > fake), ties counting half; NaN where there are none."""
    difference = real[:, None] - fake[None, :]
    return float(((difference > 0).double() + 0.5 * (difference == 0).double()).mean())


def overfitting(mean: Mapping[str, float], square: Mapping[str, float]) -> tuple[float, float]:
    """How far held-out rows are on the way from training rows to samples, to D, and its standard error.

    r_v = (E D(train) - E D(held out)) / (E D(train) - E D(fake)) of Karras et al. (2020), eq. 1; NaN where D tells
    training rows and samples apart by nothing.

    Args:
        mean: of D at "train", "held_out" and "fake".
        square: squares of their standard errors.
    """
    gap = mean["train"] - mean["fake"]
    if not gap:
        return math.nan, math.nan
    ratio = (mean["train"] - mean["held_out"]) / gap
    # r = (t - v) / (t - f): dr/dt = (1 - r) / gap, dr/dv = -1 / gap, dr/df = r / gap
    error = (1 - ratio) ** 2 * square["train"] + square["held_out"] + ratio**2 * square["fake"]
    return ratio, math.sqrt(error) / abs(gap)
