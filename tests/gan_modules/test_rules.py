"""Update rules against the closed forms of toy games."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.protocols import DISCRIMINATOR, GENERATOR
from gan_modules.rules import Alternating, Simultaneous, UpdateRule


class Point(nn.Module):
    """A player that is a number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(value, dtype=torch.float64))


Losses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Toy:
    """A game of two numbers, with plain gradient descent as optimizers."""

    def __init__(self, losses: Losses, u: float, v: float, lr: float) -> None:
        self.players = (Point(u), Point(v))
        self.losses = losses
        self.log: list[tuple[str, int, int, bool]] = []
        self.optimizers = [Step(self, p, lr) for p in (GENERATOR, DISCRIMINATOR)]

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        return self.losses(self.players[0].x, self.players[1].x)[player]

    def gradient(self, player: int, batch: GameBatch, *, shared: bool = False) -> None:
        self.log.append(("gradient", player, batch.index, shared))
        x = self.players[player].x
        (x.grad,) = torch.autograd.grad(self.player_loss(player, batch), x)

    def play(self, rule: UpdateRule) -> Tensor:
        random = RandomRows(0, 0, 0, 0, 1, 1, torch.device("cpu"))
        empty = torch.empty(1, 0)
        rule.step(self, self.optimizers, lambda k: GameBatch(empty, empty, random, None, k), rule.init(self))
        return torch.stack([p.x.detach().clone() for p in self.players])


class Step:
    def __init__(self, game: Toy, player: int, lr: float) -> None:
        self.game, self.player, self.lr = game, player, lr

    def step(self) -> None:
        self.game.log.append(("step", self.player, -1, False))
        x = self.game.players[self.player].x
        assert x.grad is not None
        with torch.no_grad():
            x -= self.lr * x.grad


def bilinear(sigma: float) -> Losses:
    return lambda u, v: (sigma * u * v, -sigma * u * v)


def dirac_r1(gamma: float) -> Losses:
    """Saturating Dirac-GAN with R1: L = f(psi theta) + f(0), f(t) = -log(1 + e^-t)."""

    def losses(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        value = -torch.nn.functional.softplus(-psi * theta)
        return value, -value + 0.5 * gamma * psi**2

    return losses


def radius(losses: Losses, rule: UpdateRule, lr: float) -> float:
    """Spectral radius of the update linearised at the equilibrium 0."""
    eps = 1e-6
    columns = [Toy(losses, eps, 0.0, lr).play(rule) / eps, Toy(losses, 0.0, eps, lr).play(rule) / eps]
    return float(torch.linalg.eigvals(torch.stack(columns, 1)).abs().max())


@pytest.mark.parametrize("s", [0.1, 0.5, 1.5])
def test_simultaneous_spirals_outward_on_the_bilinear_game(s: float) -> None:
    """sqrt(1 + h^2 sigma^2) a step, exactly, from any point."""
    game = Toy(bilinear(s / 0.2), 0.6, -0.8, 0.2)
    assert float(game.play(Simultaneous()).norm()) == pytest.approx((1 + s**2) ** 0.5, rel=1e-12)


@pytest.mark.parametrize(("s", "bounded"), [(0.1, True), (1.0, True), (1.99, True), (2.05, False)])
def test_alternating_is_bounded_below_two(s: float, bounded: bool) -> None:
    found = radius(bilinear(s), Alternating(), 1.0)
    assert found == pytest.approx(1.0, abs=1e-6) if bounded else found > 1.2


@pytest.mark.parametrize("gamma", [0.1, 0.3, 0.9])
def test_simultaneous_loses_stability_at_four_gamma(gamma: float) -> None:
    """h* = gamma / f1^2 = 4 gamma on the Dirac-GAN with R1, for gamma < 2 f1."""
    limit = 4 * gamma
    assert (
        radius(dirac_r1(gamma), Simultaneous(), 0.99 * limit)
        < 1
        < radius(dirac_r1(gamma), Simultaneous(), 1.01 * limit)
    )


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_alternating_loses_stability_at_its_flip(gamma: float) -> None:
    """h* = (-gamma + sqrt(gamma^2 + 4 f1^2)) / f1^2 with f1 = 1/2."""
    limit = 4 * (-gamma + (gamma**2 + 1) ** 0.5)
    assert (
        radius(dirac_r1(gamma), Alternating(), 0.99 * limit) < 1 < radius(dirac_r1(gamma), Alternating(), 1.01 * limit)
    )


def test_alternating_takes_each_draw_once_and_shares_the_last() -> None:
    game = Toy(bilinear(1.0), 1.0, 1.0, 0.1)
    rule = Alternating(n_critic=3)
    game.play(rule)
    assert rule.draws == 3
    gradients = [entry[1:] for entry in game.log if entry[0] == "gradient"]
    assert gradients == [(1, 0, False), (1, 1, False), (1, 2, True), (0, 2, False)]
    assert [entry[1] for entry in game.log if entry[0] == "step"] == [1, 1, 1, 0]


def test_simultaneous_takes_both_gradients_before_it_moves() -> None:
    game = Toy(bilinear(1.0), 1.0, 1.0, 0.1)
    game.play(Simultaneous())
    assert [entry[0] for entry in game.log] == ["gradient", "gradient", "step", "step"]


def test_no_critic_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="n_critic=0"):
        Alternating(0)
