"""What a game needs of Lightning's strategies, and which of its options it refuses."""

from __future__ import annotations

import warnings

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy
from torch.optim import Optimizer


def refuse_unsupported(trainer: Trainer) -> None:
    """Raise ValueError for Trainer options that manual optimization of two players can't honour, naming the remedy."""
    if trainer.gradient_clip_val:
        raise ValueError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) clips one optimizer, and a game has two: set the "
            f"module's gradient_clip_norm={trainer.gradient_clip_val} (--model.gradient_clip_norm) instead."
        )
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) is not defined for a game: raise the "
            "datamodule's batch_size instead."
        )
    if isinstance(trainer.strategy, DeepSpeedStrategy):
        raise ValueError("DeepSpeed drives one optimizer and a game has two: use strategy='ddp'.")


def refuse_hidden_scale(trainer: Trainer, optimizer: Optimizer) -> None:
    """Raise ValueError for a fused optimizer under fp16, which unscales gradients where nobody else can see them."""
    if trainer.precision == "16-mixed" and getattr(optimizer, "_step_supports_amp_scaling", False):
        raise ValueError(
            f"precision='16-mixed' with a fused {type(optimizer).__name__} leaves gradients scaled for clipping and "
            "logging: use precision='bf16-mixed', or fused: false in the optimizers."
        )


def prepare(trainer: Trainer) -> None:
    """Let DDP accept backward passes that reach one player only, and keep quiet what is as it should be."""
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")  # the averaged generator
    if isinstance(trainer.strategy, DDPStrategy):
        trainer.strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
        # said once by DDP where a first backward happens to reach all parameters; a later one does not
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        # metrics are synchronised where they are computed, and a gradient of shape (1, n) has two equal strides
        warnings.filterwarnings("ignore", message=".*sync_dist=True")
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


@torch.no_grad()
def average_buffers(module: LightningModule) -> None:
    """Make floating buffers (batch norm statistics) equal over processes by their mean.

    Under manual optimization nobody broadcasts them, and they drift apart.
    """
    if module.trainer.world_size == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(module.trainer.strategy.reduce(buffer.clone(), reduce_op="mean"))
