"""The SNGAN networks against the paper's tables."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.networks import ResNetDiscriminator, ResNetGenerator
from gan_modules.networks.class_batch_norm import ClassBatchNorm2d


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def out_channels(network):
    return [block.conv2.out_channels for block in network.blocks]


def test_cifar_networks_have_the_parameters_of_table_3():
    # a 3x3 convolution between 128 channels has 128 * 128 * 9 weights and 128 biases
    conv, shortcut = 128 * 128 * 9 + 128, 128 * 128 + 128
    first = (3 * 128 * 9 + 128) + conv + (3 * 128 + 128)
    assert parameters(ResNetDiscriminator((3, 32, 32))) == first + (2 * conv + shortcut) + 2 * (2 * conv) + (128 + 1)
    # dense 4x4x256, three blocks up, batch normalisation and a 3x3 convolution; no biases ahead of a normalisation
    block = 2 * (2 * 256) + 2 * (256 * 256 * 9) + 256 * 256
    dense, last = (128 + 1) * 4 * 4 * 256, 2 * 256 + (256 * 3 * 9 + 3)
    assert parameters(ResNetGenerator((3, 32, 32))) == dense + 3 * block + last


def test_channels_of_the_larger_tables():
    with torch.device("meta"):
        table4 = ResNetGenerator((3, 48, 48), width=64, max_width=512)
        table5 = ResNetGenerator((3, 128, 128), width=64, max_width=1024)
        discriminator5 = ResNetDiscriminator((3, 128, 128), width=64, max_width=1024, plain_blocks=1)
    assert [table4.project[1].unflattened_size, out_channels(table4)] == [(512, 6, 6), [256, 128, 64]]
    assert [table5.project[1].unflattened_size, out_channels(table5)] == [(1024, 4, 4), [1024, 512, 256, 128, 64]]
    assert out_channels(discriminator5) == [64, 128, 256, 512, 1024, 1024]


def test_sides_are_halved_in_all_but_the_last_blocks():
    x, sides = torch.randn(1, 3, 32, 32), []
    discriminator = ResNetDiscriminator((3, 32, 32), width=4)
    for block in discriminator.blocks:
        block.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[-1]))
    discriminator(x)
    assert sides == [16, 8, 8, 8]


def test_start_is_glorot_uniform_with_gain_sqrt_2_in_the_branches():
    def bound(layer, gain):
        places = layer.weight[0, 0].numel()
        return gain * sqrt(6 / ((layer.weight.shape[0] + layer.weight.shape[1]) * places))

    generator, discriminator = ResNetGenerator((3, 16, 16), width=64), ResNetDiscriminator((3, 16, 16), width=64)
    expected = [(discriminator.head.linear, 1), (generator.project[0], 1), (generator.to_image[2], 1)]
    for block in [*generator.blocks, *discriminator.blocks]:
        expected += [(block.conv1, sqrt(2)), (block.conv2, sqrt(2))]
        expected += [(block.shortcut, 1)] if isinstance(block.shortcut, nn.Conv2d) else []
    for layer, gain in expected:
        assert layer.weight.abs().max().item() == pytest.approx(bound(layer, gain), rel=0.1)
        assert layer.weight.std().item() == pytest.approx(bound(layer, gain) / sqrt(3), rel=0.15)
        assert layer.bias is None or (layer.bias == 0).all()


def test_first_block_is_the_residual_of_the_image_itself():
    torch.manual_seed(0)
    block = ResNetDiscriminator((3, 8, 8), width=4).blocks[0]
    x = torch.randn(2, 3, 8, 8)
    pool = nn.AvgPool2d(2)
    assert_close(block(x), pool(block.conv2(block.conv1(x).relu())) + block.shortcut(pool(x)))


def test_features_are_summed_over_places():
    discriminator = ResNetDiscriminator((3, 8, 8), width=4)
    x = torch.randn(2, 3, 8, 8)
    summed = discriminator.blocks(x).relu().sum((2, 3))
    assert_close(discriminator(x), discriminator.head.linear(summed).squeeze(1))


def test_class_batch_norm_is_batch_norm_with_a_scale_and_shift_a_class():
    torch.manual_seed(0)
    layer, plain = ClassBatchNorm2d(3, num_classes=2), nn.BatchNorm2d(3, affine=False)
    x, labels = torch.randn(4, 3, 5, 5), torch.tensor([0, 1, 1, 0])
    assert_close(layer(x, labels), plain(x))
    nn.init.normal_(layer.scale.weight)
    nn.init.normal_(layer.shift.weight)
    out, normal = layer(x, labels), plain(x)
    for row, label in enumerate(labels):
        scale, shift = layer.scale.weight[label], layer.shift.weight[label]
        assert_close(out[row], normal[row] * scale[:, None, None] + shift[:, None, None])


def test_every_block_of_a_conditional_generator_sees_the_class_and_its_end_does_not():
    generator = ResNetGenerator((1, 16, 16), width=4, num_classes=3)
    conditional = [m for m in generator.modules() if isinstance(m, ClassBatchNorm2d)]
    assert len(conditional) == 2 * 2
    assert all(m.scale.weight.shape == (3, 4) for m in conditional)
    assert isinstance(generator.to_image[0], nn.BatchNorm2d)
    assert generator.to_image[0].affine


@pytest.mark.parametrize("cls", [ResNetGenerator, ResNetDiscriminator], ids=lambda cls: cls.__name__)
def test_a_maximum_below_the_width_is_named(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(width=8, max_width=4\)"):
        cls((1, 8, 8), width=8, max_width=4)
