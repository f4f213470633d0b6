"""The best GAN loop that we can write by hand in plain PyTorch: what a framework's iteration is measured against."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus


class Rows(Protocol):
    """Where an iteration's random rows come from."""

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal numbers, shape ``(rows, *shape)``."""

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform numbers in [0, 1), shape ``(rows, *shape)``."""


class PrivateRows:
    """Rows from one private generator, in the order in which they are asked for."""

    def __init__(self, rows: int, seed: int = 0) -> None:
        self._rows = rows
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return torch.randn(self._rows, *shape, generator=self._generator)

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        return torch.rand(self._rows, *shape, generator=self._generator)


@dataclass(frozen=True)
class Objective:
    """What a variant's two players minimise, and how often the critic moves."""

    discriminator: Callable[[nn.Module, Tensor, Tensor, Rows], Tensor]
    generator: Callable[[nn.Module, Tensor, Tensor], Tensor]
    n_critic: int = 1


def _joint_logits(d: nn.Module, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    real_logits, fake_logits = d(torch.cat([real, fake])).chunk(2)
    return real_logits, fake_logits


def _non_saturating_d(d: nn.Module, real: Tensor, fake: Tensor, rows: Rows) -> Tensor:
    real_logits, fake_logits = _joint_logits(d, real, fake)
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def _non_saturating_g(d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-d(fake)).mean()


def _wasserstein_gp_d(d: nn.Module, real: Tensor, fake: Tensor, rows: Rows) -> Tensor:
    real_logits, fake_logits = _joint_logits(d, real, fake)
    x = torch.lerp(fake, real, rows.uniform("gradient_penalty").view(-1, 1, 1, 1)).requires_grad_()
    (gradient,) = torch.autograd.grad(d(x).sum(), x, create_graph=True)
    norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    return fake_logits.mean() - real_logits.mean() + 10.0 * (norms - 1).square().mean()


def _wasserstein_g(d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return -d(fake).mean()


def _relativistic_r1_r2_d(d: nn.Module, real: Tensor, fake: Tensor, rows: Rows) -> Tensor:
    x = torch.cat([real, fake]).requires_grad_()
    logits = d(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    real_logits, fake_logits = logits.chunk(2)
    # gamma = 1: half the mean over real rows, and half the mean over fake rows
    return softplus(fake_logits - real_logits).mean() + gradient.square().sum() * (0.5 / len(real))


def _relativistic_g(d: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    # of the logits at real rows only the value matters here: a joint pass would be differentiated at both halves
    with torch.no_grad():
        real_logits = d(real)
    return softplus(real_logits - d(fake)).mean()


OBJECTIVES: dict[str, Objective] = {
    "NSGAN": Objective(_non_saturating_d, _non_saturating_g),
    "WGANGP": Objective(_wasserstein_gp_d, _wasserstein_g, n_critic=5),
    "R3GAN": Objective(_relativistic_r1_r2_d, _relativistic_g),
}


class PlainLoop:
    """``n_critic`` steps of D, one of G on the latents of the last, one average of G.

    One forward of G serves both players, the other critic steps build no graph of G, and a step computes gradients of
    the player that moves and of nothing else. Nothing is read on the host.
    """

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, objective: Objective, ema_decay: float = 0.999
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.objective = objective
        self.average = copy.deepcopy(generator).requires_grad_(False).eval()
        self.iteration = 0
        self._ema_decay = ema_decay
        self._latent_shape = (int(generator.latent_dim),)  # type: ignore[arg-type]
        self._g, self._d = list(generator.parameters()), list(discriminator.parameters())
        self._averaged = list(self.average.parameters())
        self._buffers, self._averaged_buffers = list(generator.buffers()), list(self.average.buffers())
        self.g_optimizer = torch.optim.Adam(self._g, lr=2e-4, betas=(0.0, 0.9), fused=True)
        self.d_optimizer = torch.optim.Adam(self._d, lr=2e-4, betas=(0.0, 0.9), fused=True)

    def step(self, real: Tensor, random: Callable[[int], Rows]) -> None:
        """One iteration on ``n_critic`` batches of real rows; ``random(k)`` gives the random rows of the k-th."""
        last = self.objective.n_critic - 1
        for k, batch in enumerate(real.chunk(self.objective.n_critic)):
            rows = random(k)
            with torch.set_grad_enabled(k == last):
                fake = self.generator(rows.normal("z", self._latent_shape))
            loss = self.objective.discriminator(self.discriminator, batch, fake.detach(), rows)
            _move(self.d_optimizer, self._d, loss)
        for parameter in self._d:
            parameter.requires_grad_(False)
        _move(self.g_optimizer, self._g, self.objective.generator(self.discriminator, batch, fake))
        for parameter in self._d:
            parameter.requires_grad_(True)
        self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        self.iteration += 1
        decay = min(self._ema_decay, (1 + self.iteration) / (10 + self.iteration))
        torch._foreach_lerp_(self._averaged, self._g, 1 - decay)
        torch._foreach_copy_(self._averaged_buffers, self._buffers)


def _move(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward(inputs=parameters)
    optimizer.step()
