"""Orthogonal regularisation against its closed form."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.penalties import Orthogonal, Orthonormal, SpectralNorm


@pytest.fixture
def value(d_pass):
    """A function (penalty, network) -> the penalty of the network's weights."""

    def of(penalty, network):
        x = torch.zeros(2, 1, dtype=torch.float64)
        return penalty.discriminator(d_pass(network.double(), x, x))

    return of


def with_weight(layer, weight):
    layer.weight.data = weight.double().view_as(layer.weight)
    return layer


W = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])


@pytest.mark.parametrize("tall", [False, True])
def test_of_two_filters(tall, value):
    # W W^T = [[5, 2], [2, 10]]
    layer = with_weight(nn.Linear(2, 3), W.T) if tall else with_weight(nn.Linear(3, 2), W)
    assert_close(value(Orthogonal(0.1), layer).item(), 0.1 * (4 + 4))
    assert_close(value(Orthogonal(0.1, lengths=True), layer).item(), 0.1 * (16 + 4 + 4 + 81))


def test_a_filter_of_a_convolution_is_a_row(value):
    assert_close(value(Orthogonal(1.0), with_weight(nn.Conv1d(1, 2, 3), W)).item(), 8.0)
    assert_close(value(Orthogonal(1.0), with_weight(nn.Conv2d(3, 2, 1), W)).item(), 8.0)


def test_layers_add_up_and_gradients_are_those_of_the_formula(value):
    network = nn.Sequential(with_weight(nn.Linear(3, 2), W), with_weight(nn.Linear(3, 2), 2 * W))
    total = value(Orthogonal(1.0), network)
    assert_close(total.item(), 8.0 + 16 * 8.0)
    total.backward()
    off = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    assert_close(network[0].weight.grad, 4 * (off @ W).double())


def test_reads_the_weights_that_parametrised_layers_use(value):
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3)).double()
    Orthonormal().prepare(network)
    assert value(Orthogonal(1.0, lengths=True), network) < 1e-20
    layer = with_weight(nn.Linear(3, 3).double(), torch.diag(torch.tensor([4.0, 2.0, 1.0])))
    SpectralNorm(power_iterations=50).prepare(layer)
    assert_close(value(Orthogonal(1.0, lengths=True), layer).item(), (1 - 1 / 4) ** 2 + (1 - 1 / 16) ** 2)


def test_a_discriminator_without_such_layers_is_named(value):
    with pytest.raises(ValueError, match="Tanh has no linear or convolutional layer"):
        value(Orthogonal(), nn.Tanh())


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_what_is_no_weight_is_refused(weight):
    with pytest.raises(ValueError, match=f"weight={weight}"):
        Orthogonal(weight)
