"""Networks at any shape."""

from __future__ import annotations

import inspect

import pytest
import torch

from gan_modules import networks
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPGenerator

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 27, 19), (3, 64, 48), (1, 5, 3), (4, 100, 7)]
GENERATORS = [getattr(networks, n) for n in networks.__all__ if n.endswith("Generator")]
DISCRIMINATORS = [getattr(networks, n) for n in networks.__all__ if n.endswith("Discriminator")]


@pytest.mark.parametrize("shape", IMAGES, ids=str)
@pytest.mark.parametrize(("generator", "discriminator"), list(zip(GENERATORS, DISCRIMINATORS, strict=True)))
def test_shapes(generator: type, discriminator: type, shape: tuple[int, ...]) -> None:
    g, d = generator(shape, latent_dim=5, width=4), discriminator(shape, width=4)
    x = g(torch.randn(3, g.latent_dim))
    assert x.shape == (3, *shape)
    assert d(x).shape == (3,)


@pytest.mark.parametrize("network", GENERATORS + DISCRIMINATORS)
def test_labels_condition(network: type) -> None:
    torch.manual_seed(0)
    module = network((1, 8, 8), width=4, num_classes=3).eval()
    x = torch.randn(2, module.latent_dim) if hasattr(module, "latent_dim") else torch.randn(2, 1, 8, 8)
    zero, two = (module(x, torch.full((2,), label)) for label in (0, 2))
    assert not torch.allclose(zero, two)
    with pytest.raises(ValueError, match="needs labels"):
        module(x)


@pytest.mark.parametrize("network", GENERATORS + DISCRIMINATORS)
def test_sizes_are_checked(network: type) -> None:
    with pytest.raises(ValueError, match="width=0"):
        network((1, 8, 8), width=0)
    assert "shape" in inspect.signature(network).parameters


@pytest.mark.parametrize(("output", "low", "high"), [("tanh", -1, 1), ("sigmoid", 0, 1)])
def test_outputs_are_bounded(output: str, low: float, high: float) -> None:
    x = MLPGenerator((2,), latent_dim=3, width=4, output=output)(100 * torch.randn(50, 3))
    assert low <= x.min() <= x.max() <= high
    with pytest.raises(ValueError, match="'relu'"):
        MLPGenerator((2,), output="relu")


def test_dcgan_refuses_what_is_no_image() -> None:
    with pytest.raises(ValueError, match="channels, height, width"):
        DCGANGenerator((2,))
    with pytest.raises(ValueError, match="use the MLP"):
        DCGANDiscriminator((1, 4, 4))
    with pytest.raises(ValueError, match="'layer'"):
        DCGANDiscriminator((1, 8, 8), normalization="layer")
