"""Bounds on a network's Lipschitz constant against its Jacobians."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from gan_modules.dynamics import LINEAR_LAYERS, Trace, leading_singular_values, lipschitz_bound, measured_slope
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator


def bound(network, x, *arguments):
    trace = Trace(network)
    with torch.no_grad(), trace.starting_at(x) as ended:
        ended(network(x, *arguments))
    norms = {
        name: float(leading_singular_values(module, trace.inputs[name], 1, tolerance=1e-8)[0])
        for name, module in trace.modules.items()
        if isinstance(module, LINEAR_LAYERS)
    }
    return lipschitz_bound(trace, norms)


def slopes(network, x):
    """The largest singular value of the Jacobian at each row, from dense Jacobians."""
    jacobians = torch.func.vmap(torch.func.jacrev(lambda row: network(row[None]).flatten()))(x)
    return torch.linalg.svdvals(jacobians.flatten(2))[:, 0].detach()


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_of_linear_networks_both_bounds_are_the_norm():
    network = nn.Sequential(nn.Linear(6, 5), nn.Flatten(), nn.Identity()).double()
    x = torch.randn(4, 6).double()
    norm = float(torch.linalg.svdvals(network[0].weight.detach())[0])
    assert bound(network, x) == pytest.approx(norm, rel=1e-6)
    assert measured_slope(network, x, iterations=60) == pytest.approx(norm, rel=1e-5)


NETWORKS = {
    "MLP generator": (lambda: MLPGenerator((1, 4, 4), latent_dim=5, width=16, depth=2), (5,)),
    "tanh output": (lambda: MLPGenerator((3,), latent_dim=5, width=16, depth=2, output="tanh"), (5,)),
    "MLP critic": (lambda: MLPDiscriminator((2,), width=16, activation="maxmin"), (2,)),
    "features": (lambda: MLPDiscriminator((2,), width=16, out_features=4, activation="silu"), (2,)),
    "DCGAN generator": (lambda: DCGANGenerator((1, 8, 8), latent_dim=5, width=4), (5,)),
    "DCGAN discriminator": (lambda: DCGANDiscriminator((1, 8, 8), width=4, normalization="batch"), (1, 8, 8)),
    "in place": (lambda: nn.Sequential(nn.Linear(4, 9), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(9, 2)), (4,)),
}


@pytest.mark.parametrize(("make", "shape"), NETWORKS.values(), ids=NETWORKS.keys())
def test_slopes_are_between_the_bounds(make, shape):
    network = make().double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.2, 3)
    network.eval()
    x = torch.randn(6, *shape).double()
    truth, measured = slopes(network, x).max().item(), measured_slope(network, x)
    assert 0.8 * truth < measured <= truth * (1 + 1e-9)
    assert truth <= bound(network, x)


def test_of_one_output_the_slope_is_the_norm_of_the_gradient():
    network = MLPDiscriminator((1, 4, 4), width=16).double()
    x = torch.randn(9, 1, 4, 4).double()
    assert measured_slope(network, x) == pytest.approx(slopes(network, x).max().item(), rel=1e-9)


def test_batch_normalisation_counts_by_its_largest_factor():
    network = nn.Sequential(nn.BatchNorm1d(3)).double().eval()
    network[0].running_var.copy_(torch.tensor([1.0, 0.25, 4.0]))
    network[0].weight.data.copy_(torch.tensor([1.0, -3.0, 2.0]))
    assert bound(network, torch.zeros(2, 3).double()) == pytest.approx(6, rel=1e-4)


class Branches(nn.Module):
    """Something that happens between modules, by name."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        h = self.one(x)
        if self.kind == "in place":
            h += x  # the same memory, other numbers
        h = {"twice": 2 * h, "function": relu(h), "residual": h + x}.get(self.kind, h)
        h = self.two(h)
        return h + 0 if self.kind == "after" else h


@pytest.mark.parametrize("kind", ["twice", "function", "residual", "in place", "after"])
def test_what_is_no_sequence_of_modules_has_no_upper_bound(kind):
    assert bound(Branches(kind), torch.randn(3, 4)) is None
    assert bound(Branches("plain"), torch.randn(3, 4)) is not None


def test_modules_of_unknown_slope_have_no_upper_bound():
    x = torch.randn(3, 4)
    assert bound(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), x) is None
    conditional = MLPDiscriminator((4,), width=8, num_classes=3)
    assert bound(conditional, x, torch.tensor([0, 1, 2])) is None


def test_a_module_that_is_called_twice_counts_twice():
    layer = nn.Linear(4, 4).double()
    x = torch.randn(3, 4).double()
    assert bound(nn.Sequential(layer, layer), x) == pytest.approx(bound(nn.Sequential(layer), x) ** 2)


def test_shapes_are_those_of_the_forward():
    network = DCGANGenerator((1, 8, 8), latent_dim=5, width=4).eval()
    trace = Trace(network)
    x = torch.zeros(2, 5)
    with torch.no_grad(), trace.starting_at(x) as ended:
        ended(network(x))
    assert trace.inputs["project.0"] == (5,)
    assert trace.inputs["upsample.2"] == (4, 4, 4)
    assert trace.outputs["upsample.2"] == (1, 8, 8)
    assert not network.upsample[2]._forward_hooks


def test_networks_that_say_nothing_of_their_input():
    assert math.isnan(measured_slope(lambda x: torch.zeros(len(x), 1), torch.randn(3, 2)))
    flat = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    nn.init.constant_(flat[0].bias, -100)
    assert measured_slope(flat, torch.randn(5, 3)) == 0


def test_packs_of_rows_are_one_input():
    linear = nn.Linear(6, 1, bias=False).double()
    found = measured_slope(lambda x: linear(x.view(-1, 6)), torch.randn(8, 3).double())
    assert found == pytest.approx(linear.weight.norm().item())
