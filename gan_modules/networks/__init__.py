"""Generators and discriminators. Any nn.Module of the same signature serves as well."""

from gan_modules.networks.activations import MaxMin
from gan_modules.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_modules.networks.minibatch_std import MinibatchStdDev
from gan_modules.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_modules.networks.packed import Packed
from gan_modules.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from gan_modules.networks.resnet import ResNetDiscriminator, ResNetGenerator

__all__ = [
    "DCGANDiscriminator",
    "DCGANGenerator",
    "MLPDiscriminator",
    "MLPGenerator",
    "MaxMin",
    "MinibatchStdDev",
    "Packed",
    "R3GANDiscriminator",
    "R3GANGenerator",
    "ResNetDiscriminator",
    "ResNetGenerator",
]
