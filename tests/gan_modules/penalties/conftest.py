"""Discriminators with a known input gradient, and a pass through them as training makes it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_modules.penalties import DiscriminatorPass


class Linear(nn.Module):
    """D(x) = w . x on flattened rows: the input gradient is w everywhere."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(w))

    def forward(self, x):
        return x.flatten(1) @ self.w


class Quadratic(nn.Module):
    """D(x) = x^T A x / 2: for a symmetric A the input gradient is A x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.as_tensor(a))

    def forward(self, x):
        return 0.5 * torch.einsum("bi,ij,bj->b", x, self.a, x)


@pytest.fixture
def linear():
    """The class above."""
    return Linear


@pytest.fixture
def quadratic():
    """The class above."""
    return Quadratic


@pytest.fixture
def smooth():
    """A function (dtype) -> a discriminator of rows of 3, smooth in its input and its parameters."""

    def build(dtype=torch.float64):
        return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1)).to(dtype)

    return build


@pytest.fixture
def count_forwards():
    """A function (module) -> a list that grows by the number of rows of each forward from now on."""

    def count(module):
        calls = []
        module.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
        return calls

    return count


@pytest.fixture
def d_pass(game_batch):
    """A function (discriminator, real, fake, *penalties) -> the DiscriminatorPass that serves those penalties."""

    def build(discriminator, real, fake, *penalties, labels=None, index=0, iteration=0):
        batch = game_batch(real, labels=labels, index=index, iteration=iteration)
        due = frozenset().union(*(penalty.gradient_at(batch) for penalty in penalties))
        return DiscriminatorPass(discriminator, batch, fake, due)

    return build
