"""Games of a few dozen numbers in float64, and derivatives by differences of the real field."""

from __future__ import annotations

import pytest
import torch
from recipes import make, still

from gan_modules.batch import GameBatch, RandomRows


def parameters_of(game):
    return [p for player in game.players for p in player.parameters() if p.requires_grad]


def real_field(game, batch):
    """(-dL_G/dtheta, -dL_D/dphi) as training computes it: by ``gradient``, out of ``.grad``."""
    for player in (1, 0):
        game.gradient(player, batch)
    return -torch.cat([p.grad.reshape(-1) for p in parameters_of(game)])


@pytest.fixture
def field():
    """A function (game, batch) -> the field that training follows."""
    return real_field


@pytest.fixture
def difference():
    """A function (game, batch, w) -> the derivative of that field along w, by a central difference."""

    def build(game, batch, w, eps=1e-6):
        found = parameters_of(game)
        kept, steps = [p.detach().clone() for p in found], torch.split(w, [p.numel() for p in found])
        buffers = {b: b.clone() for player in game.players for b in player.buffers()}
        ends = []
        for sign in (1, -1):
            for p, start, step in zip(found, kept, steps, strict=True):
                p.data.copy_(start + sign * eps * step.view_as(p))
            ends.append(real_field(game, batch))
        for p, start in zip(found, kept, strict=True):
            p.data.copy_(start)
            p.grad = None
        for b, start in buffers.items():
            b.copy_(start)
        return (ends[0] - ends[1]) / (2 * eps)

    return build


@pytest.fixture
def double():
    """A function (variant, rows) -> that GAN in float64 between networks of 50 numbers each, and a batch for it."""

    def build(name, rows=6, **kwargs):
        # an adversary's answer is a constant in derivatives; along signs it is one
        given = {"norm": "linf"} | kwargs if name == "RobustGAN" else kwargs
        game = still(make(name, **given)).double()
        return game, batch_for(game, rows)

    return build


def batch_for(game, rows=6, shape=(2,), labels=None):
    numbers = torch.Generator().manual_seed(5)
    real = torch.randn(rows, *shape, generator=numbers, dtype=torch.float64)
    if labels is None and getattr(game, "num_classes", None):
        labels = torch.arange(rows) % game.num_classes
    random = RandomRows(0, 0, -2, 0, rows, rows, torch.device("cpu"))
    return GameBatch(real, game.latents(random).double(), random, labels, index=None)


@pytest.fixture
def batch_of():
    """A function (game, rows, shape, labels) -> a batch in float64."""
    return batch_for
