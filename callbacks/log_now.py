"""Logging at once, whatever the log interval is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch import Trainer


def log_now(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Give values to the loggers, and to callbacks that monitor (``trainer.callback_metrics``)."""
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
    for logger in trainer.loggers:
        logger.log_metrics({"epoch": trainer.current_epoch, **values}, step=trainer.global_step - 1)
