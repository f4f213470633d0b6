"""Leading singular values against a dense decomposition of the layer's matrix."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_modules.dynamics import leading_singular_values

LAYERS = [
    (lambda: nn.Linear(20, 30), (20,)),
    (lambda: nn.Linear(20, 1), (20,)),
    (lambda: nn.Conv2d(3, 5, 3, 1, 1), (3, 8, 8)),
    (lambda: nn.Conv2d(3, 5, 4, 2, 1), (3, 8, 8)),
    (lambda: nn.Conv2d(4, 6, 3, dilation=2, groups=2), (4, 9, 7)),
    (lambda: nn.ConvTranspose2d(5, 3, 4, 2, 1), (5, 4, 4)),
    (lambda: nn.Conv1d(2, 3, 5), (2, 16)),
]


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    eye = torch.eye(prod(shape), dtype=torch.float64).view(-1, *shape)
    return (layer(eye) - layer(torch.zeros_like(eye[:1]))).flatten(1).detach()


@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_against_a_dense_decomposition(make: object, shape: tuple[int, ...]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = make().double()  # type: ignore[operator]
    before = torch.random.get_rng_state()
    found, vectors = leading_singular_values(layer, shape, 3, tolerance=1e-7)
    expected = torch.linalg.svdvals(dense(layer, shape))[:3]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    warm, _ = leading_singular_values(layer, shape, 3, start=vectors, max_iterations=2)
    torch.testing.assert_close(warm, expected, rtol=1e-4, atol=1e-9)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_spectral_norm_layer_has_norm_one_as_a_matrix() -> None:
    layer = spectral_norm(nn.Linear(12, 9), n_power_iterations=200).eval()
    found, _ = leading_singular_values(layer, (12,), 1)
    assert float(found[0]) == pytest.approx(1, abs=1e-3)
