"""What tests of losses build a discriminator's pass from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_modules.discriminator_pass import DiscriminatorPass


@pytest.fixture
def identity():
    """D(x) = x on rows of one number: what D says of a row is the row, and so are its penultimate features."""
    layer = nn.Linear(1, 1, dtype=torch.float64)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer)


@pytest.fixture
def vector():
    """D(x) = x on rows of two numbers."""
    layer = nn.Linear(2, 2, dtype=torch.float64)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@pytest.fixture
def said(identity, d_pass):
    """A function (loss, real, fake) -> the pass in which D says what the rows of numbers are."""

    def build(loss, real, fake, discriminator=identity):
        rows = (torch.as_tensor(x, dtype=torch.float64) for x in (real, fake))
        return d_pass(discriminator, *(x[:, None] if x.ndim == 1 else x for x in rows), loss)

    return build


@pytest.fixture
def generator_pass(d_pass):
    """A function (discriminator, real, fake, loss) -> the pass of the generator's turn, real rows apart."""

    def build(discriminator, real, fake, loss):
        batch = d_pass(discriminator, real, fake).batch
        d = DiscriminatorPass(discriminator, batch, real, fake, layers=loss.layers, joint=False)
        d.memory = loss.init()
        return d

    return build
