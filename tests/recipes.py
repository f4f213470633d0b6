"""Small games that tests train, importable by name in other processes."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

import gan_modules
from datamodules import RingDataModule
from gan_modules import GANModule
from gan_modules.losses import NonSaturating
from gan_modules.networks import MLPDiscriminator, MLPGenerator

VARIANTS = [
    name
    for name in gan_modules.__all__
    if isinstance(getattr(gan_modules, name), type) and issubclass(getattr(gan_modules, name), GANModule)
]


def parts(name: str) -> dict[str, Any]:
    """What the variant called ``name`` is built from, on points of the plane: the same numbers at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {
            "generator": MLPGenerator((2,), latent_dim=3, width=8, depth=2),
            "discriminator": MLPDiscriminator((2,), width=8, depth=2),
        }
    return networks | ({"loss": NonSaturating()} if name == "GANModule" else {})


def make(name: str, **kwargs: Any) -> GANModule:
    model: GANModule = getattr(gan_modules, name)(**parts(name), **kwargs)
    return model


def ring(**kwargs: Any) -> RingDataModule:
    return RingDataModule(**{"batch_size": 8, "train_size": 64, "val_size": 40, "test_size": 40, **kwargs})


def quiet_trainer(**kwargs: Any) -> Trainer:
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**{"accelerator": "cpu", "log_every_n_steps": 1, "max_steps": 2, **off, **kwargs})


def parameters(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def trained_on_ranks(rank: int, world: int, name: str) -> dict[str, Tensor]:
    """Parameters after two iterations of gradient descent in float64, so that they differ by the gradients alone."""
    return _with_ranks(rank, world, partial(_train, name))


def latents_on_ranks(rank: int, world: int) -> Tensor:
    """The latents of the first draw that this process sees."""
    seen: list[Tensor] = []

    def train(**kwargs: Any) -> Tensor:
        model = make("NSGAN")
        model.generator.register_forward_pre_hook(
            lambda _, inputs: seen.append(inputs[0].clone()) if model.training else None
        )
        quiet_trainer(max_steps=1, num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, ring())
        return next(z for z in seen if z.abs().sum() > 0)  # the shape check sends zeros

    return _with_ranks(rank, world, train)


def _train(name: str, **kwargs: Any) -> dict[str, Tensor]:
    sgd = partial(torch.optim.SGD, lr=0.05)
    model = make(name, generator_optimizer=sgd, discriminator_optimizer=sgd)
    quiet_trainer(precision="64-true", num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, ring())
    return parameters(model)


def _with_ranks(rank: int, world: int, train: Any) -> Any:
    if world == 1:
        return train()
    # as torchrun would say it, so that Lightning joins the processes there are
    os.environ.update(
        TORCHELASTIC_RUN_ID="tests", RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), GROUP_RANK="0",
        LOCAL_WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT="29500",
    )  # fmt: skip
    return train(devices=world, strategy="ddp")
