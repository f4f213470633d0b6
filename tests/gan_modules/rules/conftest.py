"""Games with one number or vector a player, and a loop around them that needs no trainer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_modules import GameModule
from gan_modules.dynamics import OptimizerHandle


class Vector(nn.Module):
    """A player that is a vector."""

    def __init__(self, start):
        super().__init__()
        self.x = nn.Parameter(torch.as_tensor(start, dtype=torch.float64).clone())


class Bilinear(GameModule):
    """min_u max_v u^T A v."""

    def __init__(self, matrix, u, v, **kwargs):
        super().__init__(**kwargs)
        self.matrix, self.u, self.v = torch.as_tensor(matrix, dtype=torch.float64), Vector(u), Vector(v)

    @property
    def players(self):
        return self.u, self.v

    def player_loss(self, player, batch):
        value = self.u.x @ self.matrix @ self.v.x
        return -value if player else value


class DiracGenerator(nn.Module):
    """One point, whatever z."""

    latent_dim = 1

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, z):
        return self.theta.expand(len(z), 1)


class DiracDiscriminator(nn.Module):
    """D(x) = psi x."""

    def __init__(self):
        super().__init__()
        self.psi = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x):
        return x[:, 0] * self.psi


class Loop:
    """Iterations of a rule on a module, with gradient descent at rate ``lr``, writing down what the rule asks for."""

    def __init__(self, module, rule, lr, batch):
        self.module, self.rule, self.batch = module, rule, batch
        self.handles = [
            Handle(self, player, torch.optim.SGD(module.players[player].parameters(), lr=lr)) for player in (0, 1)
        ]
        self.calls = []

    @property
    def players(self):
        return self.module.players

    def player_loss(self, player, batch):
        return self.module.player_loss(player, batch)

    def gradient(self, player, batch, *, shared=False):
        self.calls.append(("gradient", player, batch.index, shared))
        self.module.gradient(player, batch, shared=shared)

    def __getattr__(self, name):
        return getattr(self.module, name)

    def draw(self, k):
        self.calls.append(("draw", k))
        return self.batch(k)

    def iterate(self, n=1):
        state = self.rule.init(self, self.handles)
        for _ in range(n):
            state = self.rule.step(self, self.handles, self.draw, state)
            yield self.point

    @property
    def point(self):
        return torch.cat([p.detach().clone() for player in self.players for p in player.parameters()])

    @point.setter
    def point(self, value):
        with torch.no_grad():
            start = 0
            for p in (p for player in self.players for p in player.parameters()):
                p.copy_(value[start : start + p.numel()])
                start += p.numel()

    def linearised(self, at, eps=1e-4):
        """The Jacobian of one iteration at a point, by central differences."""
        columns = []
        for direction in torch.eye(len(at), dtype=at.dtype):
            ends = []
            for sign in (1, -1):
                self.point = at + sign * eps * direction
                ends += self.iterate()
            columns.append((ends[0] - ends[1]) / (2 * eps))
        return torch.stack(columns, 1)


class Handle(OptimizerHandle):
    """What a rule moves a player by, which writes down its steps."""

    def step(self):
        self.game.calls.append(("step", self.player))
        super().step()


@pytest.fixture
def bilinear(alone):
    """A function (matrix, u, v) -> that game."""

    def build(matrix, u, v, **kwargs):
        return alone(Bilinear(matrix, u, v, **kwargs))

    return build


@pytest.fixture
def dirac(alone):
    """A function (variant) -> the variant between a point at theta and D(x) = psi x (Mescheder et al., 2018)."""

    def build(cls, **kwargs):
        return alone(cls(DiracGenerator(), DiracDiscriminator(), ema_decay=0, **kwargs))

    return build


@pytest.fixture
def loop(game_batch):
    """A function (module, rule, lr) -> a Loop; the data are at 0."""

    def build(module, rule, lr):
        zeros = torch.zeros(2, 1, dtype=torch.float64)
        return Loop(module, rule, lr, lambda k: game_batch(zeros, zeros, index=k))

    return build
