"""Distributions on the line and the plane, how far a critic is from their distance, and GANs that play on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from gan_modules import Adam, GANModule
from gan_modules.batch import key
from gan_modules.dynamics import Play
from gan_modules.losses import Lipschitz
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import Constraint, Penalty
from gan_modules.rules import Alternating
from studies import critics

#: a function (rows, generator) -> points of data and of fakes, (rows, d) each
Pair = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
MODES = 8


def numbers(*names: int | str) -> torch.Generator:
    """A generator of random numbers of that name."""
    return torch.Generator().manual_seed(key(*names))


def on_circle(angles: Tensor, radius: float) -> Tensor:
    return radius * torch.stack([angles.cos(), angles.sin()], 1)


def ring(rows: int, generator: torch.Generator, radius: float = 1.0, std: float = 0.05) -> Tensor:
    """Points of eight Gaussians at equal angles on a circle."""
    modes = torch.randint(0, MODES, (rows,), generator=generator)
    return on_circle(modes * (2 * math.pi / MODES), radius) + std * torch.randn(rows, 2, generator=generator)


def noisy_ring(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A ring of radius 2, and it under noise that half fills the gaps between its modes."""
    real, blurred = (ring(rows, generator, 2.0, std) for std in (0.04, 0.6))
    return real, blurred


def transport(x: Tensor, y: Tensor) -> float:
    """Wasserstein-1 distance of two samples of equal size, exactly, by the best assignment."""
    distances = torch.cdist(x.double(), y.double()).numpy()
    return float(distances[linear_sum_assignment(distances)].mean())


def critic_of(by: Penalty | Constraint, pair: Pair, seed: int, steps: int, rows: int, width: int = 64) -> nn.Module:
    """A critic of three ReLU layers after so many steps on fresh rows of a pair, kept Lipschitz so."""
    dim = pair(1, numbers("shape"))[0].shape[1]
    torch.manual_seed(seed)
    critic = MLPDiscriminator((dim,), width, 3, activation="relu")
    critics.train(Lipschitz(by), critic, lambda step: pair(rows, numbers("rows", seed, step)), steps)
    return critic


def slopes(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Norms of the critic's gradient at random points of the lines between real and fake rows, (rows,)."""
    mix = torch.rand(len(real), 1, generator=numbers("between"))
    points = torch.lerp(fake, real, mix).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points)
    return gradient.norm(dim=1)


@torch.no_grad()
def gap(critic: nn.Module, real: Tensor, fake: Tensor) -> float:
    """E f(real) - E f(fake), which is the distance where f is at its best and its slope is 1."""
    return float(critic(real).double().mean() - critic(fake).double().mean())


def gan(by: Penalty | Constraint, depth: int, width: int, seed: int) -> GANModule:
    """A Wasserstein GAN on the plane between ReLU networks, three critic steps a generator step."""
    torch.manual_seed(seed)
    return GANModule(
        MLPGenerator((2,), latent_dim=2, width=64, depth=3, activation="relu"),
        MLPDiscriminator((2,), width, depth, activation="relu"),
        loss=Lipschitz(by),
        rule=Alternating(n_critic=3),
        ema_decay=0.0,
        seed=seed,
    )


def distances_in_training(game: GANModule, seed: int, iterations: int, rows: int, every: int) -> list[float]:
    """W1 of generated points from the ring, of 500 points each, before training and after every so many iterations."""
    data, z = ring(500, numbers("judged")), torch.randn(500, 2, generator=numbers("judged z"))
    optimizer = partial(Adam, lr=1e-3, beta1=0.0, beta2=0.9)
    play = Play(
        game,
        game.rule,
        (optimizer, optimizer),
        lambda k: game.game_batch(ring(rows, numbers("ring", seed, k)), iteration=k, draw=0),
    )

    def distance() -> float:
        with torch.no_grad():
            made = game.generator(z)
        return transport(data, made) if made.isfinite().all() else math.inf

    found = [distance()]
    for k in range(iterations):
        play.step()
        if (k + 1) % every == 0:
            found.append(distance())
    return found
