"""Leading singular values of a layer against a dense decomposition of its matrix."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from gan_modules.dynamics import LINEAR_LAYERS, leading_singular_values

LAYERS = {
    "linear": (nn.Linear(9, 7), (9,)),
    "linear functional": (nn.Linear(20, 1), (20,)),
    "linear on rows": (nn.Linear(5, 4), (3, 5)),
    "without bias": (nn.Linear(6, 8, bias=False), (6,)),
    "padded": (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 5)),
    "strided": (nn.Conv2d(2, 4, 4, stride=2, padding=1), (2, 8, 8)),
    "dilated": (nn.Conv2d(2, 3, 3, dilation=2), (2, 9, 7)),
    "grouped": (nn.Conv2d(4, 4, 3, padding=1, groups=2), (4, 5, 5)),
    "circular": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (2, 6, 6)),
    "transposed": (nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1), (3, 4, 4)),
    "transposed with output padding": (nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), (2, 4, 3)),
    "transposed, one dimension": (nn.ConvTranspose1d(3, 2, 3, stride=2), (3, 6)),
    "transposed, three dimensions": (nn.ConvTranspose3d(2, 1, 2, stride=2), (2, 2, 3, 2)),
    "one dimension": (nn.Conv1d(2, 3, 5, stride=3), (2, 17)),
    "three dimensions": (nn.Conv3d(1, 2, 2), (1, 3, 4, 3)),
    "spectral norm": (spectral_norm(nn.Conv2d(2, 3, 3)), (2, 6, 6)),
}
every_layer = pytest.mark.parametrize(("layer", "shape"), LAYERS.values(), ids=LAYERS.keys())


def dense(layer, shape):
    eye = torch.eye(prod(shape), dtype=torch.float64).view(-1, *shape)
    return (layer(eye) - layer(torch.zeros_like(eye[:1]))).flatten(1).detach()


@pytest.fixture
def applications():
    """A function (layer) -> a list that grows at each application of the layer."""
    handles = []

    def count(layer):
        calls = []
        handles.append(layer.register_forward_hook(lambda *_: calls.append(1)))
        return calls

    yield count
    for handle in handles:
        handle.remove()


@every_layer
@pytest.mark.parametrize("k", [1, 4])
def test_is_the_leading_part_of_a_dense_decomposition(layer, shape, k):
    layer = layer.double().eval()
    state = torch.get_rng_state()
    values, vectors = leading_singular_values(layer, shape, k, tolerance=1e-9, max_iterations=3000)
    assert torch.equal(torch.get_rng_state(), state)
    assert_close(values, torch.linalg.svdvals(dense(layer, shape))[:k], rtol=1e-5, atol=1e-9)
    assert vectors.shape[1:] == shape
    rows = vectors.flatten(1)
    assert_close(rows @ rows.T, torch.eye(len(rows), dtype=torch.float64))
    # the first vector is the leading right singular vector
    image = (layer(vectors[:1]) - layer(torch.zeros_like(vectors[:1]))).norm()
    assert_close(image, values[0], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_the_layers_own(dtype):
    layer = nn.Conv2d(2, 3, 3, padding=1).to(dtype)
    values, vectors = leading_singular_values(layer, (2, 6, 6), 2, tolerance=1e-6)
    assert values.dtype == vectors.dtype == dtype
    expected = torch.linalg.svdvals(dense(layer.double(), (2, 6, 6)))[:2]
    assert_close(values.double(), expected, rtol=1e-4, atol=0)


def test_starting_from_earlier_vectors_takes_fewer_iterations(applications):
    layer = nn.Conv2d(3, 6, 3, padding=1).double()
    calls = applications(layer)
    cold, vectors = leading_singular_values(layer, (3, 8, 8), 3)
    cold_calls = len(calls)
    with torch.no_grad():
        layer.weight.add_(1e-3 * torch.randn_like(layer.weight))  # a training step later
    calls.clear()
    warm, _ = leading_singular_values(layer, (3, 8, 8), 3, start=vectors)
    assert len(calls) < cold_calls / 2
    assert_close(warm, torch.linalg.svdvals(dense(layer, (3, 8, 8)))[:3], rtol=2e-3, atol=0)
    assert not torch.equal(warm, cold)


def test_values_close_to_one_another_are_resolved(applications):
    # by the vectors beyond those asked for: alone, the second value would converge at the ratio (0.98 / 0.99)^2
    layer = nn.Linear(40, 40).double()
    spectrum = torch.cat([torch.tensor([1.0, 0.99, 0.98, 0.97]), torch.linspace(0.3, 0.01, 36)]).double()
    left, _, right = torch.linalg.svd(layer.weight.detach())
    with torch.no_grad():
        layer.weight.copy_(left @ spectrum.diag() @ right)
    calls = applications(layer)
    values, _ = leading_singular_values(layer, (40,), 2, tolerance=1e-7)
    assert_close(values, spectrum[:2], rtol=1e-6, atol=0)
    assert len(calls) < 40


def test_vectors_of_another_shape_are_no_start():
    layer = nn.Conv2d(3, 6, 3, padding=1).double()
    _, vectors = leading_singular_values(layer, (3, 8, 8))
    values, _ = leading_singular_values(layer, (3, 5, 5), start=vectors)
    assert_close(values, leading_singular_values(layer, (3, 5, 5))[0])


@pytest.mark.parametrize(("layer", "shape", "count"), [(nn.Linear(20, 2), (20,), 2), (nn.Linear(1, 9), (1,), 1)])
def test_fewer_come_back_where_there_are_fewer(layer, shape, count):
    layer = layer.double()
    values, vectors = leading_singular_values(layer, shape, 5)
    assert_close(values, torch.linalg.svdvals(layer.weight.detach()))
    assert len(values) == len(vectors) == count


def test_equal_singular_values_and_a_layer_of_rank_one():
    layer = nn.Linear(12, 12).double()
    nn.init.orthogonal_(layer.weight)
    assert_close(leading_singular_values(layer, (12,), 3)[0], torch.ones(3, dtype=torch.float64))
    with torch.no_grad():
        layer.weight.copy_(torch.outer(torch.ones(12), torch.ones(12)))
    expected = torch.tensor([12.0, 0.0, 0.0], dtype=torch.float64)
    assert_close(leading_singular_values(layer, (12,), 3)[0], expected, rtol=1e-6, atol=1e-6)
    nn.init.zeros_(layer.weight)
    assert_close(leading_singular_values(layer, (12,), 3)[0], torch.zeros(3, dtype=torch.float64))


def test_spectral_norm_makes_the_leading_value_of_a_linear_layer_one():
    layer = spectral_norm(nn.Linear(12, 9), n_power_iterations=300)
    layer.train()(torch.zeros(1, 12))
    assert leading_singular_values(layer.eval(), (12,), 1)[0].item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_layer_is_left_alone_in_any_mode(context):
    layer = nn.Linear(6, 5)
    before = layer.weight.detach().clone()
    with context():
        values, vectors = leading_singular_values(layer, (6,))
    assert not values.requires_grad
    assert not vectors.requires_grad
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, before)


def test_every_kind_of_layer_is_tested_here():
    assert {type(layer) for layer, _ in LAYERS.values()} >= set(LINEAR_LAYERS)
