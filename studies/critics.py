"""A discriminator trained on two fixed distributions: what a loss measures once its inner player is at its best."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.losses import AdversarialLoss

#: a function (step) -> rows of data and of fakes, (B, *shape) each
Draw = Callable[[int], tuple[Tensor, Tensor]]


def looked_at(
    loss: AdversarialLoss, discriminator: nn.Module, real: Tensor, fake: Tensor, step: int = 0
) -> DiscriminatorPass:
    """The pass that serves the loss and its penalties on these rows."""
    random = RandomRows(0, step, 0, 0, len(real), len(real), real.device)
    batch = GameBatch(real, real, random, index=step)
    terms = (loss, *loss.penalties)
    return DiscriminatorPass(
        discriminator,
        batch,
        real,
        fake,
        gradient_at=frozenset[str]().union(*(term.gradient_at(batch) for term in terms)),
        layers=[layer for term in terms for layer in term.layers],
        witness=None if type(loss).critic is AdversarialLoss.critic else loss.critic,
    )


def train(loss: AdversarialLoss, discriminator: nn.Module, draw: Draw, steps: int, lr: float = 3e-3) -> Memory:
    """Descend the discriminator's loss by Adam, the learning rate falling to 0 as a cosine; what the loss remembers."""
    if loss.constraint is not None:
        loss.constraint.prepare(discriminator)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr, (0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    memory = loss.init()
    for step in range(steps):
        d = looked_at(loss, discriminator, *draw(step), step)
        d.memory = memory
        values = [loss.discriminator(d), *(penalty.discriminator(d) for penalty in loss.penalties)]
        optimizer.zero_grad()
        torch.stack([value for value in values if value is not None]).sum().backward()
        optimizer.step()
        schedule.step()
        if loss.constraint is not None:
            loss.constraint.apply(discriminator)
        memory = {name: value.detach() for name, value in loss.update(d).items()}
    return memory
