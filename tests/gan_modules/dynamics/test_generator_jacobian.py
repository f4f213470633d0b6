"""Singular values of dG/dz, against matrices and torch's own Jacobian."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.dynamics import NotTwiceDifferentiableError, generator_jacobian, generator_singular_values
from gan_modules.networks import DCGANGenerator, MLPGenerator


def latents(rows, size):
    return torch.randn(rows, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)], ids=["sheet", "onto"])
def test_a_linear_generator_has_those_of_its_matrix_everywhere(shape):
    layer = nn.Linear(shape[1], shape[0]).double()
    found = generator_singular_values(layer, latents(4, shape[1]))
    assert_close(found, torch.linalg.svdvals(layer.weight.detach()).expand(4, -1))


@pytest.mark.parametrize("chunk_bytes", [1, 2**28], ids=["row-by-row", "at-once"])
def test_networks_against_jacobians_row_by_row(chunk_bytes, monkeypatch):
    monkeypatch.setattr(generator_jacobian, "_CHUNK_BYTES", chunk_bytes)
    torch.manual_seed(0)
    generator = DCGANGenerator((1, 8, 8), latent_dim=6, width=4).double().eval()
    z = latents(3, 6)
    found = generator_singular_values(generator, z)
    for row, values in zip(z, found, strict=True):
        exact = torch.func.jacrev(lambda x: generator(x[None]).flatten())(row)
        assert_close(values, torch.linalg.svdvals(exact.detach()), rtol=1e-9, atol=1e-12)
    assert all(p.grad is None for p in generator.parameters())


def test_classes_and_single_precision():
    torch.manual_seed(0)
    generator = MLPGenerator((2,), latent_dim=3, width=8, depth=2, num_classes=4)
    z, labels = latents(4, 3).float(), torch.arange(4)
    found = generator_singular_values(generator, z, labels)
    assert found.shape == (4, 2)
    assert found.dtype == torch.float64
    exact = torch.func.jacrev(lambda x: generator(x[None], labels[2:3]).flatten())(z[2])
    assert_close(found[2].float(), torch.linalg.svdvals(exact.detach()), rtol=1e-4, atol=1e-6)


def test_a_collapsed_generator_stretches_nothing():
    class Constant(nn.Module):
        def forward(self, z):
            return torch.ones(len(z), 4, dtype=z.dtype)

    assert generator_singular_values(Constant(), latents(2, 3)).tolist() == [[0.0] * 3] * 2


def test_what_cannot_be_measured_is_named():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, gradient):
            return gradient

    class Layer(nn.Module):
        def forward(self, z):
            return Once.apply(z)

    with pytest.raises(NotTwiceDifferentiableError, match="Once"):
        generator_singular_values(Layer(), latents(2, 3))
    with pytest.raises(FloatingPointError, match="generator's derivative"):
        generator_singular_values(nn.Softplus(), latents(2, 3) * torch.nan)
