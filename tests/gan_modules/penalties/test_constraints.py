"""What every constraint promises, and the slopes that are claimed of it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from penalty_recipes import CONSTRAINTS, tiny_discriminator
from torch import nn
from torch.testing import assert_close

from gan_modules import NSGAN
from gan_modules.networks import MLPDiscriminator
from gan_modules.penalties import GradientPenalty, Orthonormal, SpectralNorm, WeightClipping
from gan_modules.penalties.base import LINEAR_LAYERS

every_constraint = pytest.mark.parametrize("constraint", CONSTRAINTS, ids=str)
by_layers = pytest.mark.parametrize("constraint", [SpectralNorm(), Orthonormal()], ids=str)


def prepared(constraint, network=None):
    network = tiny_discriminator() if network is None else network
    constraint.prepare(network)
    constraint.apply(network)
    return network


def norms(network):
    """Of the weights, filters as rows."""
    layers = [module for module in network.modules() if isinstance(module, LINEAR_LAYERS)]
    return [float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) for layer in layers]


def slope(conv, size):
    """Largest singular value of a convolution as a map of images of that size."""
    x = torch.zeros(1, conv.in_channels, size, size, dtype=torch.float64)
    return float(torch.linalg.matrix_norm(torch.autograd.functional.jacobian(conv, x).flatten(4).flatten(0, 3), 2))


@every_constraint
def test_is_a_value(constraint):
    assert len({constraint, copy.deepcopy(constraint), pickle.loads(pickle.dumps(constraint))}) == 1


@every_constraint
def test_a_constrained_discriminator_is_copied_saved_and_loaded_whole(constraint):
    x = torch.randn(5, 3, dtype=torch.float64)
    network = prepared(constraint).eval()
    twin = copy.deepcopy(network)
    assert torch.equal(twin(x), network(x))
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.1)
    assert not torch.equal(twin(x), network(x))  # copies share nothing
    loaded = prepared(constraint, nn.Sequential(*(copy.deepcopy(m) for m in tiny_discriminator()))).eval()
    nn.init.normal_(next(loaded.parameters()))
    loaded.load_state_dict(network.state_dict())
    assert torch.equal(loaded(x), network(x))


@every_constraint
def test_gradient_penalties_through_it_have_finite_derivatives_as_the_games_jacobian_takes_them(constraint, d_pass):
    network = prepared(constraint)
    penalty = GradientPenalty()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    inputs = [*network.parameters(), fake]
    value = penalty.discriminator(d_pass(network, real, fake, penalty))
    first = torch.autograd.grad(value, inputs, create_graph=True, materialize_grads=True)
    assert any((g != 0).any() for g in first[:-1])
    second = torch.autograd.grad(
        sum(g.square().sum() for g in first), inputs, create_graph=True, materialize_grads=True
    )
    third = torch.autograd.grad(sum(g.sum() for g in second), inputs, materialize_grads=True)
    for g in (*first, *second, *third):
        assert torch.isfinite(g).all()


@every_constraint
def test_trains(constraint, tiny, fit):
    module = tiny(NSGAN, constraint=constraint)
    before = [p.detach().clone() for p in module.discriminator.parameters()]
    fit(module, 3)
    assert any((p != old).any() for p, old in zip(module.discriminator.parameters(), before, strict=True))


@by_layers
def test_linear_layers_keep_slope_one_in_training(constraint, tiny, fit):
    module = tiny(NSGAN, constraint=constraint)
    fit(module, 20)
    for norm in norms(module.discriminator):
        # the power iteration lags behind weights that move, the Cayley map does not
        assert norm == pytest.approx(1, abs=0.02 if isinstance(constraint, SpectralNorm) else 1e-5)


def test_spectral_norm_is_that_of_the_singular_value(linear):
    network = prepared(SpectralNorm(power_iterations=100))
    for after, before in zip(network[::2], tiny_discriminator()[::2], strict=True):
        weight = before.weight
        assert_close(after.weight, weight / torch.linalg.matrix_norm(weight, 2), rtol=1e-9, atol=1e-12)
        assert_close(after.bias, before.bias)


def test_orthonormal_weights_have_all_singular_values_one():
    network = prepared(Orthonormal(), nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 5), nn.Conv2d(2, 3, 3)).double())
    optimizer = torch.optim.Adam(network.parameters(), lr=0.3)
    for _ in range(5):  # however far it has moved
        sum(m.weight.pow(3).sum() for m in network).backward()
        optimizer.step()
    for layer, scale in zip(network, (1, 1, 3), strict=True):
        values = torch.linalg.svdvals(layer.weight.flatten(1)) * scale
        assert_close(values, torch.ones_like(values), rtol=0, atol=1e-12)


def test_orthonormal_critics_of_maxmin_reach_slope_one_everywhere():
    critic = prepared(Orthonormal(), MLPDiscriminator((6,), width=6, depth=4, activation="maxmin").double())
    x = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(x).sum(), x)
    assert_close(gradient.norm(dim=1), torch.ones(50, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (4, 2, 1), (3, 1, 0), (5, 1, 2), (1, 1, 0)])
def test_slopes_of_convolutions(kernel, stride, padding):
    for bias in (False, True):
        conv = nn.Conv2d(2, 3, kernel, stride, padding, bias=bias).double()
        assert slope(prepared(Orthonormal(), copy.deepcopy(conv)), 8) <= 1 + 1e-9
        assert slope(prepared(SpectralNorm(50), conv), 8) <= kernel + 1e-6


def test_the_bounds_of_convolutions_are_attained_by_a_constant_kernel():
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False).double()
    nn.init.ones_(conv.weight)
    assert slope(prepared(Orthonormal(), copy.deepcopy(conv)), 16) == pytest.approx(1, abs=0.03)
    assert slope(prepared(SpectralNorm(), conv), 16) == pytest.approx(3, abs=0.1)  # not 1


@by_layers
def test_weights_stay_exact_under_autocast(constraint):
    network = prepared(constraint, tiny_discriminator().float()).eval()
    expected = norms(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.randn(2, 3)).isfinite().all()
        assert_close(norms(network), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("given", [False, True], ids=["in float32", "in bfloat16"])
def test_orthonormal_weights_in_half_precision_are_rounded_no_more_than_it_rounds(given):
    network = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    network = prepared(Orthonormal(), network.bfloat16() if given else network).bfloat16()
    network(torch.randn(4, 3, dtype=torch.bfloat16)).sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    for layer in network[::2]:
        assert layer.weight.dtype == torch.bfloat16
        values = torch.linalg.svdvals(layer.weight.detach().float())
        assert_close(values, torch.ones_like(values), rtol=0, atol=0.02)


def test_orthonormal_discriminators_train_in_bfloat16(tiny, fit, snapshot):
    module = tiny(NSGAN, constraint=Orthonormal())
    start = snapshot(module.discriminator).bfloat16()
    fit(module, 2, precision="bf16-true")
    end = snapshot(module.discriminator)
    assert end.isfinite().all()
    assert not torch.equal(start, end)


@by_layers
def test_layers_that_have_it_already_are_left_alone(constraint):
    network = prepared(constraint)
    keys = network.state_dict().keys()
    constraint.prepare(network)
    assert network.state_dict().keys() == keys


@pytest.mark.parametrize(
    ("constraint", "before", "maker"),
    [
        (SpectralNorm(), lambda layer: Orthonormal().prepare(layer), "OrthonormalFilters"),
        (Orthonormal(), nn.utils.parametrizations.spectral_norm, "SpectralNorm"),
        (SpectralNorm(), nn.utils.parametrizations.weight_norm, "WeightNorm"),
    ],
    ids=["orthonormal", "spectral norm", "weight norm"],
)
def test_layers_that_another_kind_has_parametrised_are_refused(constraint, before, maker):
    network = tiny_discriminator()
    before(network[2])
    with pytest.raises(
        ValueError, match=rf"{type(constraint).__name__}\(.*layer '2' is parametrised already, by {maker}"
    ):
        constraint.prepare(network)


def test_orthonormal_does_not_take_the_embeddings_that_it_cannot_bound():
    network = MLPDiscriminator((2,), width=8, depth=2, num_classes=3)
    with pytest.raises(ValueError, match=r"Orthonormal\(\): the layer '.*embedding' .* is an Embedding.*SpectralNorm"):
        Orthonormal().prepare(network)
    # which then is as it was, and which spectral normalisation bounds
    assert not any(nn.utils.parametrize.is_parametrized(module) for module in network.modules())
    norms = torch.linalg.matrix_norm(prepared(SpectralNorm(50), network).head.embedding.weight, 2)
    assert norms.item() == pytest.approx(1, abs=1e-3)


@by_layers
def test_a_discriminator_without_layers_is_named(constraint):
    with pytest.raises(ValueError, match=r"Tanh has none of the layers Linear"):
        constraint.prepare(nn.Tanh())


def test_power_iterations_below_one_are_refused():
    with pytest.raises(ValueError, match="power_iterations=0"):
        SpectralNorm(0)


@pytest.mark.parametrize("before", [SpectralNorm(), Orthonormal()], ids=str)
def test_parametrised_layers_are_not_clipped(before):
    with pytest.raises(ValueError, match="parametrised layers"):
        WeightClipping().prepare(prepared(before))
