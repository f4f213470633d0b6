"""What every exported network promises, and the DCGAN's own shapes. Layers and wrappers have tests of their own."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from gan_modules import networks
from gan_modules.discriminator_pass import has_batch_statistics
from gan_modules.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
)

PIECES = {"MaxMin", "MinibatchStdDev", "Packed"}  # layers and wrappers; all else exported is a network
NETWORKS = [getattr(networks, name) for name in networks.__all__ if name not in PIECES]
GENERATORS = [cls for cls in NETWORKS if "latent_dim" in inspect.signature(cls).parameters]
DISCRIMINATORS = [cls for cls in NETWORKS if cls not in GENERATORS]
# every base of exact doublings, sides that differ, one to four channels
DOUBLINGS = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 10, 10), (4, 12, 24), (1, 40, 16)]
# every parity of a side at every level
IMAGES = [*DOUBLINGS[:3], (2, 5, 5), (3, 17, 9), (1, 31, 6), (4, 7, 40), (1, 1, 6), (2, 13, 26)]
BY_DOUBLINGS = {ResNetDiscriminator, ResNetGenerator, R3GANDiscriminator, R3GANGenerator}


def with_images(classes):
    """Each network with each size that it takes."""
    cases = [(cls, shape) for cls in classes for shape in (DOUBLINGS if cls in BY_DOUBLINGS else IMAGES)]
    return pytest.mark.parametrize(("network", "shape"), cases, ids=lambda x: getattr(x, "__name__", str(x)))


every_network = pytest.mark.parametrize("network", NETWORKS, ids=lambda cls: cls.__name__)
every_generator = pytest.mark.parametrize("network", GENERATORS, ids=lambda cls: cls.__name__)
every_discriminator = pytest.mark.parametrize("network", DISCRIMINATORS, ids=lambda cls: cls.__name__)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def stirred(module):
    """The network away from its start, at which branches and differences between classes may be 0."""
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return module


def inputs(network, rows=3):
    return (
        torch.randn(rows, network.latent_dim) if hasattr(network, "latent_dim") else torch.randn(rows, *network.shape)
    )


@with_images(GENERATORS)
def test_generators_make_samples_of_their_shape(network, shape):
    generator = network(shape, latent_dim=3, width=2)
    samples = generator(torch.randn(3, 3))
    assert samples.shape == (3, *shape)
    assert generator.shape == shape
    assert generator.latent_dim == 3


@with_images(DISCRIMINATORS)
def test_discriminators_give_one_logit_a_row_that_every_pixel_reaches(network, shape):
    discriminator = network(shape, width=8).double()
    x = torch.randn(3, *shape, dtype=torch.float64, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (3,)
    (gradient,) = torch.autograd.grad(logits[1], x)
    assert (gradient[1] != 0).all()
    assert (gradient[[0, 2]] == 0).all()


@pytest.mark.parametrize("cls", [MLPGenerator, MLPDiscriminator], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("shape", [(2,), (1,), (5, 3), (1, 1, 1)], ids=str)
def test_perceptrons_take_samples_that_are_no_images(cls, shape):
    network = cls(shape, width=4, depth=1)
    assert network(inputs(network)).shape == ((3, *shape) if cls is MLPGenerator else (3,))


@every_network
@pytest.mark.parametrize("classes", [None, 3])
def test_every_parameter_is_trained(network, classes):
    module = stirred(network((1, 16, 8), width=4, num_classes=classes))
    labels = () if classes is None else (torch.tensor([0, 1, 2]),)
    module(inputs(module), *labels).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in module.parameters())


@every_network
def test_label_changes_its_own_row_and_no_other(network):
    module = stirred(network((1, 8, 8), width=4, num_classes=4)).eval()
    x = inputs(module)
    before, after = module(x, torch.tensor([0, 1, 2])), module(x, torch.tensor([0, 3, 2]))
    assert not torch.allclose(before[1], after[1])
    assert_close(before[[0, 2]], after[[0, 2]])


@every_network
def test_conditional_networks_ask_for_labels_and_others_do_without(network):
    x = inputs(network((1, 8, 8), width=4))
    with pytest.raises(ValueError, match="labels"):
        network((1, 8, 8), width=4, num_classes=4)(x)
    assert torch.isfinite(network((1, 8, 8), width=4)(x)).all()


@every_network
@pytest.mark.parametrize("value", [0, -2])
def test_sizes_below_one_are_named(network, value):
    sizes = {"width", "depth", "latent_dim", "blocks", "plain_blocks"} & set(inspect.signature(network).parameters)
    for name in sizes:
        with pytest.raises(ValueError, match=rf"{network.__name__}\({name}={value}\)"):
            network((1, 8, 8), **{name: value})
    with pytest.raises(
        ValueError, match=rf"{network.__name__}\(\w+={value * (8 if 'MLP' in network.__name__ else 1)}\)"
    ):
        network((1, value, 8))


@every_generator
@pytest.mark.parametrize(("output", "low", "high"), [("linear", None, None), ("tanh", -1, 1), ("sigmoid", 0, 1)])
def test_range_of_the_output(network, output, low, high):
    generator = network((1, 8, 8), latent_dim=3, width=4, output=output)
    with torch.no_grad():
        for p in generator.parameters():
            p.mul_(40)
    samples = generator(torch.randn(50, 3))
    ends = [samples.min().item(), samples.max().item()]
    if low is None:
        assert max(map(abs, ends)) > 2
    else:
        assert ends == pytest.approx([low, high], abs=1e-3)


@every_generator
def test_unknown_output_is_named(network):
    with pytest.raises(ValueError, match=rf"{network.__name__}.*'relu'.*linear.*sigmoid.*tanh"):
        network((1, 8, 8), output="relu")


@every_discriminator
def test_several_outputs_are_a_vector_a_row_and_exclude_classes(network):
    discriminator = network((1, 8, 8), width=4, out_features=5)
    assert discriminator(inputs(discriminator)).shape == (3, 5)
    with pytest.raises(ValueError, match=r"out_features=5.*num_classes=3"):
        network((1, 8, 8), width=4, out_features=5, num_classes=3)
    with pytest.raises(ValueError, match=r"out_features=0"):
        network((1, 8, 8), width=4, out_features=0)


@every_discriminator
@pytest.mark.parametrize("classes", [None, 2])
def test_minibatch_std_lets_rows_of_a_group_see_each_other(network, classes):
    discriminator = stirred(network((1, 8, 8), width=4, minibatch_std=True, num_classes=classes)).double()
    labels = () if classes is None else (torch.tensor([0, 1] * 4),)
    x = torch.randn(8, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(x, *labels)[1], x)
    assert (gradient[:4] != 0).flatten(1).any(1).all()
    assert (gradient[4:] == 0).all()
    assert has_batch_statistics(discriminator)
    assert not has_batch_statistics(network((1, 8, 8), width=4))


@every_discriminator
def test_input_gradients_are_differentiable_again(network):
    # R1 is a second derivative in training; the game's Jacobian with R1 a third
    discriminator = stirred(network((1, 8, 8), width=4)).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    parameters = list(discriminator.parameters())
    (slope,) = torch.autograd.grad(discriminator(x).square().sum(), x, create_graph=True)
    second = torch.autograd.grad(slope.square().sum(), parameters, create_graph=True, allow_unused=True)
    total = sum((g.square().sum() for g in second if g is not None), slope.new_zeros(()))
    third = torch.autograd.grad(total, parameters, allow_unused=True)
    for gradients in (second, third):
        found = [g for g in gradients if g is not None]
        assert any((g != 0).any() for g in found)
        assert all(torch.isfinite(g).all() for g in found)


@every_generator
def test_generators_are_differentiable_again(network):
    generator = stirred(network((1, 8, 8), latent_dim=3, width=4)).double()
    z = torch.randn(3, 3, dtype=torch.float64)
    parameters = list(generator.parameters())
    first = torch.autograd.grad(generator(z).square().sum(), parameters, create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), parameters, allow_unused=True)
    assert all(torch.isfinite(g).all() for g in second if g is not None)
    assert any((g != 0).any() for g in second if g is not None)


@every_discriminator
def test_spectral_normalisation_of_every_layer(network):
    discriminator = stirred(network((1, 16, 16), width=8))
    x = torch.randn(4, 1, 16, 16)
    before = discriminator(x)
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    for layer in layers:
        spectral_norm(layer, n_power_iterations=20)
    logits = discriminator(x)
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)
    assert not torch.allclose(before, logits)
    logits.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in discriminator.parameters())


@pytest.mark.parametrize("cls", [DCGANGenerator, DCGANDiscriminator], ids=lambda cls: cls.__name__)
def test_dcgan_refuses_what_it_cannot_build(cls):
    for shape in [(8, 8), (1, 2, 8, 8)]:
        with pytest.raises(ValueError, match=rf"{cls.__name__}\(shape=.*channels, height, width"):
            cls(shape)
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(shape=\(1, 4, 4\)\).*MLP"):
        cls((1, 4, 4))
    with pytest.raises(ValueError, match="normalization='layer'"):
        cls((1, 8, 8), normalization="layer")


@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_dcgan_normalises_all_layers_but_those_at_the_image(normalization):
    # Radford et al., 2016, section 3: no batch normalisation on the generator's output nor the discriminator's input
    generator = DCGANGenerator((1, 32, 32), latent_dim=3, width=2, normalization=normalization)
    discriminator = DCGANDiscriminator((1, 32, 32), width=2, normalization=normalization)
    counts = [sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) for network in (generator, discriminator)]
    assert counts == ([3, 2] if normalization == "batch" else [0, 0])
    # a bias before a normalisation would be trained for nothing
    convolutions = [m for n in (generator, discriminator) for m in n.modules() if hasattr(m, "kernel_size")]
    assert sum(m.bias is not None for m in convolutions) == (2 if normalization == "batch" else 6)
    assert discriminator(generator(torch.randn(4, 3))).shape == (4,)


def test_dcgan_starts_as_the_paper_says():
    weights = [m.weight for m in DCGANGenerator((3, 16, 16), 8, 64).modules() if isinstance(m, nn.ConvTranspose2d)]
    for weight in weights:
        assert weight.mean().item() == pytest.approx(0, abs=2e-3)
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_projection_is_linear_in_the_features():
    # Miyato and Koyama, 2018, eq. 3: logit(x, y) - logit(x, y') = <embedding(y) - embedding(y'), h(x)>
    discriminator = MLPDiscriminator((3,), width=4, depth=2, num_classes=5)
    x, classes = torch.randn(6, 3), torch.tensor([0, 1, 2, 3, 4, 0])
    head = discriminator.head
    difference = discriminator(x, classes) - discriminator(x, classes.roll(1))
    expected = (head.embedding(classes) - head.embedding(classes.roll(1))) * discriminator.hidden(x)
    assert_close(difference, expected.sum(1))
