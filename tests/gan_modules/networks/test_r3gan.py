"""The R3GAN networks against the paper's configuration, its start and its resampling."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.networks import R3GANDiscriminator, R3GANGenerator
from gan_modules.networks.r3gan import _ResidualBlock
from gan_modules.networks.resample import Resample


def blocks(network):
    return [m for m in network.modules() if isinstance(m, _ResidualBlock)]


def test_cifar_networks_have_the_parameters_of_the_configuration():
    # 768 channels, branches of 1536 in 96 groups of 16, biases inside the branch only, two blocks in each of 4 stages
    block = 768 * 1536 + 1536 + 1536 * 16 * 9 + 1536 + 1536 * 768
    with torch.device("meta"):
        generator, discriminator = R3GANGenerator((3, 32, 32)), R3GANDiscriminator((3, 32, 32))
    assert sum(p.numel() for p in generator.parameters()) == 768 * 4 * 4 + 64 * 768 + 8 * block + 768 * 3
    assert sum(p.numel() for p in discriminator.parameters()) == 3 * 768 + 8 * block + 768 * 4 * 4 + 768
    assert {b.mix.groups for b in blocks(generator)} == {96}


def test_channels_halve_after_the_four_coarsest_stages():
    with torch.device("meta"):
        generator, discriminator = R3GANGenerator((3, 256, 256)), R3GANDiscriminator((3, 256, 256))
    paper = [768, 768, 768, 768, 384, 192, 96]
    assert [b.expand.in_channels for b in blocks(generator)[::2]] == paper
    assert [b.expand.in_channels for b in blocks(discriminator)[::2]] == paper[::-1]
    assert [b.mix.groups for b in blocks(generator)[::2]] == [96, 96, 96, 96, 48, 24, 12]


def test_start_is_fixup():
    # the last convolution 0, the others' deviation sqrt(2 / (1 + 0.2^2)) depth^(-1/4) / sqrt(fan in)
    generator, discriminator = R3GANGenerator((3, 16, 16), 64, 64), R3GANDiscriminator((3, 16, 16), 64)
    gain = sqrt(2 / 1.04) * 6 ** (-1 / 4)
    expected = [(b.expand.weight, gain / sqrt(64)) for n in (generator, discriminator) for b in blocks(n)]
    expected += [(b.mix.weight, gain / sqrt(16 * 9)) for n in (generator, discriminator) for b in blocks(n)]
    expected += [(generator.stages[0].maps, 1), (generator.stages[0].linear.weight, 1 / sqrt(64))]
    expected += [(discriminator.head[0].weight, 1 / 4), (discriminator.head[2].weight, 1 / sqrt(64))]
    for weight, deviation in expected:
        assert weight.std().item() == pytest.approx(deviation, rel=0.3 if weight.numel() < 100 else 0.1)
    for network in (generator, discriminator):
        assert all((b.contract.weight == 0).all() for b in blocks(network))
        assert all((p == 0).all() for name, p in network.named_parameters() if name.endswith("bias"))


def test_every_block_starts_as_the_identity_and_the_signal_keeps_its_size():
    torch.manual_seed(0)
    generator = R3GANGenerator((3, 32, 32), latent_dim=64, width=64)
    x = torch.randn(2, 64, 4, 4)
    assert_close(blocks(generator)[0](x), x)
    logits = R3GANDiscriminator((3, 32, 32), width=64)(generator(torch.randn(16, 64)))
    assert 0.05 < logits.std().item() < 5


def test_classes_start_at_the_scale_of_the_paper():
    generator = R3GANGenerator((1, 8, 8), latent_dim=64, width=64, num_classes=25)
    discriminator = R3GANDiscriminator((1, 8, 8), width=64, num_classes=25)
    assert generator.input.embedding.weight.shape == (25, 64)
    assert generator.input.embedding.weight.std().item() == pytest.approx(1 / 5, rel=0.1)
    assert discriminator.embedding.weight.std().item() == pytest.approx(1 / (8 * 5), rel=0.1)
    # logit(x, y) = <embedding(y), h(x)>, and nothing else
    nn.init.zeros_(discriminator.embedding.weight)
    assert (discriminator(torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2])) == 0).all()


def test_resampling_keeps_constants_inside_and_is_bilinear():
    up, down = Resample(up=True), Resample(up=False)
    ones = torch.ones(1, 2, 6, 8)
    assert_close(up(ones)[..., 1:-1, 1:-1], torch.ones(1, 2, 10, 14))
    assert_close(down(ones)[..., 1:-1, 1:-1], torch.ones(1, 2, 1, 2))
    x = torch.randn(2, 3, 5, 7)
    bilinear = nn.functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert_close(up(x)[..., 1:-1, 1:-1], bilinear[..., 1:-1, 1:-1])


def test_doubling_is_four_times_the_adjoint_of_halving():
    x, y = torch.randn(1, 2, 8, 6, dtype=torch.float64), torch.randn(1, 2, 4, 3, dtype=torch.float64)
    up, down = Resample(up=True).double(), Resample(up=False).double()
    assert_close((down(x) * y).sum() * 4, (x * up(y)).sum())
    assert not Resample(up=True).state_dict()
