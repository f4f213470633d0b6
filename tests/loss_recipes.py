"""Losses of every kind, and their derivatives on several processes, importable by name in these."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_modules import losses
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties import GradientPenalty

LOSSES = [
    losses.Bounded(),
    losses.FeatureMatching(("0", "penultimate"), losses.FisherBall(0.5), adversarial=0.3),
    losses.FisherBall(0.5),
    losses.Hinge(),
    losses.KernelBall(),
    losses.KernelBall(on="samples"),
    losses.LeastSquares(),
    losses.Lipschitz(),
    losses.MeanFeatures(),
    losses.Minimax(),
    losses.NonSaturating(),
    losses.RelativisticAverage(),
    losses.RelativisticPairing(),
    losses.SobolevBall(0.5),
    losses.Wasserstein(),
]


def loss_on_ranks(rank: int, world: int, index: int) -> list[Tensor]:
    """Averaged over processes: both players' values, gradients and a Hessian product; and the memory that follows.

    A gradient penalty on the loss's own critic goes with D's value.
    """
    loss = LOSSES[index]
    torch.manual_seed(7)
    generator = nn.Linear(2, 3, dtype=torch.float64)
    discriminator = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    real, z = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    rows = 6 // world
    random = RandomRows(0, 0, 0, rank * rows, rows, 6, torch.device("cpu"))
    batch = GameBatch(real.chunk(world)[rank], z.chunk(world)[rank], random)
    d = DiscriminatorPass(
        discriminator, batch, batch.real, generator(batch.z), gradient_at=loss.gradient_at(batch), layers=loss.layers
    )
    d.memory = {name: value + 0.3 for name, value in loss.init().items()}
    witness = DiscriminatorPass(discriminator, batch, batch.real, d.fake, witness=loss.critic)
    values = [loss.discriminator(d) + GradientPenalty().discriminator(witness), loss.generator(d)]
    found = [value.detach() for value in values]
    parameters = [*generator.parameters(), *discriminator.parameters()]
    for value in values:
        gradients = torch.autograd.grad(value, parameters, create_graph=True, allow_unused=True, materialize_grads=True)
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        ramp = torch.linspace(-1, 1, len(flat), dtype=torch.float64)
        products = torch.autograd.grad(
            flat @ ramp, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        found += [tensor.detach().clone() for tensor in (*gradients, *products)]
    if world > 1:
        for tensor in found:
            torch.distributed.all_reduce(tensor)
            tensor /= world
    return found + [value.detach() for value in loss.update(d).values()]
