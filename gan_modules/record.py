"""What training says of itself at the log interval, and how it stops where numbers are no longer finite."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from gan_modules.protocols import PLAYER_NAMES


class NonFiniteError(FloatingPointError):
    """A loss or a parameter is NaN or infinite; the last good checkpoint is untouched."""


class Record:
    """Tensors kept between two log intervals, without waiting for the device.

    Losses are averaged over all gradients since the last ``take``; of other values the latest counts.
    """

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._values: dict[str, Tensor] = {}
        self._loss_sums: list[Any] = [0.0, 0.0]
        self._loss_counts = [0, 0]

    @property
    def names(self) -> list[str]:
        """What was kept beside losses."""
        return list(self._values)

    @property
    def empty(self) -> bool:
        """Whether no loss was taken note of."""
        return not any(self._loss_counts)

    def loss(self, player: int, value: Tensor) -> None:
        """Take note of a loss of that player."""
        self._loss_sums[player] = self._loss_sums[player] + value.detach()
        self._loss_counts[player] += 1

    def keep(self, name: str, value: Tensor) -> None:
        """Keep the latest value of that name, whose mean counts."""
        self._values[name] = value.detach()

    def take(self, trainer: Trainer) -> dict[str, float]:
        """Means over processes of what was recorded since the last call: the one place that waits for the device."""
        values = {
            f"loss/{PLAYER_NAMES[p]}": self._loss_sums[p] / self._loss_counts[p] for p in (0, 1) if self._loss_counts[p]
        }
        values |= {name: value.float().mean() for name, value in self._values.items()}
        means = torch.stack([value.float() for value in values.values()])
        means = trainer.strategy.reduce(means, reduce_op="mean")  # a NaN on one process reaches all
        self._reset()
        return dict(zip(values, means.tolist(), strict=True))


def logs_at(trainer: Trainer, iteration: int) -> bool:
    """Whether loggers hear of that iteration."""
    interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return interval > 0 and iteration % interval == 0


def refuse_non_finite_numbers(numbers: dict[str, float], iteration: int) -> None:
    """Raise NonFiniteError naming the numbers that are not finite."""
    bad = [f"{name} = {number}" for name, number in numbers.items() if not math.isfinite(number)]
    if bad:
        raise _stop(iteration, ", ".join(bad))


def refuse_non_finite_parameters(module: LightningModule) -> None:
    """Raise NonFiniteError where a parameter is not finite, so that no checkpoint of it is written."""
    bad = [name for name, p in module.named_parameters() if not torch.isfinite(p).all()]
    if bad:
        raise _stop(module.trainer.global_step, f"{len(bad)} parameters are not finite, the first is {bad[0]}")


def _stop(iteration: int, what: str) -> NonFiniteError:
    return NonFiniteError(
        f"Training stopped at iteration {iteration}: {what}. Checkpoints written before hold finite parameters. Lower "
        "the learning rates, set gradient_clip_norm, add a penalty, or use precision 32-true."
    )
