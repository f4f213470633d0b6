"""The modern residual networks without normalisation of R3GAN (Huang et al., 2024, section 3, Config E)."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd, sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.networks.layers import (
    LatentInput,
    check_outputs,
    check_positive,
    class_labels,
    one_logit,
    output_layer,
)
from gan_modules.networks.minibatch_std import MinibatchStdDev
from gan_modules.networks.resample import Resample
from gan_modules.networks.sizes import base_and_doublings

_EXPANSION = 2
_GROUP_CHANNELS = 16
_SLOPE = 0.2
_GAIN = sqrt(2 / (1 + _SLOPE**2))  # keeps the variance through a leaky ReLU
_FULL_STAGES = 4  # the stages up to 32x32 have the full width in all of the paper's configurations


def _widths(width: int, stages: int) -> list[int]:
    """Channels from the coarsest stage on."""
    return [max(1, width >> max(0, stage - _FULL_STAGES + 1)) for stage in range(stages)]


def _normal(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> nn.Module:
    """Weights of standard deviation gain / sqrt(fan in), biases 0."""
    nn.init.normal_(layer.weight, 0.0, gain / sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _pointwise(fan_in: int, fan_out: int) -> nn.Module:
    return _normal(nn.Conv2d(fan_in, fan_out, 1, bias=False))


class _ResidualBlock(nn.Module):
    """1x1 expansion, grouped 3x3, 1x1 back, with leaky ReLUs between.

    The last convolution starts at 0, the other two are scaled by depth^(-1 / (2 m - 2)), m = 3 layers a branch, depth
    the network's residual blocks: Fixup (Zhang et al., 2019), which stands in for normalisation.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        hidden = _EXPANSION * channels
        groups = hidden // gcd(hidden, _GROUP_CHANNELS)
        gain = _GAIN * depth ** (-1 / 4)
        self.expand = _normal(nn.Conv2d(channels, hidden, 1), gain)
        self.mix = _normal(nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups), gain)
        self.contract = nn.Conv2d(hidden, channels, 1, bias=False)
        nn.init.zeros_(self.contract.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(self.expand(x), _SLOPE)
        total: Tensor = x + self.contract(F.leaky_relu(self.mix(h), _SLOPE))
        return total


def _change(fan_in: int, fan_out: int, up: bool) -> list[nn.Module]:
    """Resampling, with a 1x1 convolution at the coarser resolution where channels differ."""
    match = [_pointwise(fan_in, fan_out)] if fan_in != fan_out else []
    return [*match, Resample(up=True)] if up else [Resample(up=False), *match]


def _stages(widths: Sequence[int], blocks: int, up: bool) -> list[nn.Module]:
    """Residual blocks of every stage, and a change of resolution before each but the first."""
    layers: list[nn.Module] = []
    for stage, channels in enumerate(widths):
        layers += _change(widths[stage - 1], channels, up) if stage else []
        layers += [_ResidualBlock(channels, blocks * len(widths)) for _ in range(blocks)]
    return layers


class _GenerativeBasis(nn.Module):
    """Inputs (B, F) to (B, C, h, w): learned maps, each multiplied by a linear function of the input."""

    def __init__(self, in_features: int, channels: int, base: tuple[int, int]) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(channels, *base))
        self.linear = _normal(nn.Linear(in_features, channels, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        weights: Tensor = self.linear(x)
        return self.maps * weights[:, :, None, None]


class R3GANGenerator(nn.Module):
    """Latents (B, latent_dim), and labels (B,) if conditional, to images (B, channels, height, width).

    The defaults are the paper's for CIFAR-10 and FFHQ.

    Args:
        shape: (channels, height, width); the smaller side 4 to 7 times a power of two that divides both sides.
        latent_dim: size of z.
        width: channels of the four coarsest stages, halved at each finer one; branches have twice as many.
        blocks: residual blocks of a stage.
        output: "linear" as in the paper, "tanh" or "sigmoid".
        num_classes: classes that condition the generator (by an embedding beside z, of its size), or None.

    Raises:
        ValueError: a size that exact doublings don't reach, naming the nearest that they do.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 64,
        width: int = 768,
        blocks: int = 2,
        output: str = "linear",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        base, doublings = base_and_doublings("R3GANGenerator", shape)
        check_positive("R3GANGenerator", latent_dim=latent_dim, width=width, blocks=blocks)
        widths = _widths(width, doublings + 1)
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.input = LatentInput(latent_dim, num_classes, embedding_dim=latent_dim)
        if self.input.embedding is not None:
            # a linear map of one-hot classes, whose fan-in is the number of classes
            nn.init.normal_(self.input.embedding.weight, 0.0, 1 / sqrt(self.input.embedding.num_embeddings))
        basis = _GenerativeBasis(self.input.out_features, width, base)
        to_image = _pointwise(widths[-1], shape[0])
        layers = _stages(widths, blocks, up=True)
        self.stages = nn.Sequential(basis, *layers, to_image, output_layer("R3GANGenerator", output))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.stages(self.input(z, labels))
        return images


class R3GANDiscriminator(nn.Module):
    """Images (B, channels, height, width), and labels (B,) if conditional, to logits (B,): the generator mirrored.

    Conditional logits are <embedding(y), h(x)>, without the unconditional term of Miyato and Koyama (2018). Spectral
    normalisation has nothing to divide by at the start, where the last convolution of each branch is 0.

    Args:
        shape: as of the generator.
        width: channels of the four coarsest stages, halved at each finer one; branches have twice as many.
        blocks: residual blocks of a stage.
        num_classes: classes that condition the discriminator, or None.
        out_features: numbers a row; above one they are features (B, out_features), and there are no classes.
        minibatch_std: whether the last layers see the standard deviation over groups of rows.

    Raises:
        ValueError: a size that exact doublings don't reach, naming the nearest that they do.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 768,
        blocks: int = 2,
        num_classes: int | None = None,
        out_features: int = 1,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        base, doublings = base_and_doublings("R3GANDiscriminator", shape)
        check_positive("R3GANDiscriminator", width=width, blocks=blocks)
        check_outputs(out_features, num_classes)
        widths = _widths(width, doublings + 1)[::-1]
        self.shape = tuple(shape)
        layers = _stages(widths, blocks, up=False)
        statistics = [MinibatchStdDev()] if minibatch_std else []
        self.stages = nn.Sequential(_pointwise(shape[0], widths[0]), *layers, *statistics)
        features = width + minibatch_std
        self.embedding = None if num_classes is None else nn.Embedding(num_classes, width)
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, 0.0, 1 / sqrt(width * self.embedding.num_embeddings))
        # one map a channel weighs its places: the discriminative basis
        basis = _normal(nn.Conv2d(features, features, base, groups=features, bias=False))
        linear = nn.Linear(features, out_features if num_classes is None else width, bias=False)
        self.head = nn.Sequential(basis, nn.Flatten(), _normal(linear))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        outputs: Tensor = self.head(self.stages(x))
        if self.embedding is None:
            return one_logit(outputs)
        logits: Tensor = (outputs * self.embedding(class_labels("discriminator", labels))).sum(1)
        return logits
