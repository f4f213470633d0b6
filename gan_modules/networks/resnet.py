"""The residual networks of spectral normalisation (SNGAN; Miyato et al., 2018, appendix B.4, tables 3 to 5)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from torch import Tensor, nn
from torch.nn import functional as F

from gan_modules.networks.class_batch_norm import ClassBatchNorm2d
from gan_modules.networks.layers import LogitHead, check_positive, output_layer
from gan_modules.networks.minibatch_std import MinibatchStdDev
from gan_modules.networks.sizes import base_and_doublings


def _widths(owner: str, width: int, max_width: int | None, levels: int) -> list[int]:
    """Channels from the finest level on, doubled at each coarser one up to ``max_width``."""
    check_positive(owner, width=width)
    if max_width is not None and max_width < width:
        raise ValueError(f"{owner}(width={width}, max_width={max_width}): max_width must be at least the width.")
    return [min(width * 2**level, max_width or width) for level in range(levels)]


def _initialise(network: nn.Module) -> None:
    """Uniform weights of Glorot and Bengio (2010), with gain sqrt(2) in residual branches, as in the authors' code."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight, sqrt(2) if isinstance(module, _ResidualConv) else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, LogitHead) and module.embedding is not None:
            nn.init.xavier_uniform_(module.embedding.weight)


class _ResidualConv(nn.Conv2d):
    """3x3, in a residual branch."""

    def __init__(self, fan_in: int, fan_out: int, bias: bool = True) -> None:
        super().__init__(fan_in, fan_out, 3, padding=1, bias=bias)


class _UpBlock(nn.Module):
    """Doubles the sides. No bias: the next normalisation takes every constant of a channel away."""

    def __init__(self, fan_in: int, fan_out: int, num_classes: int | None) -> None:
        super().__init__()
        self.norm1 = ClassBatchNorm2d(fan_in, num_classes)
        self.conv1 = _ResidualConv(fan_in, fan_out, bias=False)
        self.norm2 = ClassBatchNorm2d(fan_out, num_classes)
        self.conv2 = _ResidualConv(fan_out, fan_out, bias=False)
        self.shortcut = nn.Conv2d(fan_in, fan_out, 1, bias=False)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = self.conv1(_doubled(F.relu(self.norm1(x, labels))))
        h = self.conv2(F.relu(self.norm2(h, labels)))
        # a 1x1 convolution commutes with doubling, and costs a quarter before it
        total: Tensor = h + _doubled(self.shortcut(x))
        return total


class _DownBlock(nn.Module):
    """Residual block without normalisation, halving the sides or not; the first one starts at the image itself."""

    def __init__(self, fan_in: int, fan_out: int, downsample: bool, first: bool = False) -> None:
        super().__init__()
        hidden = fan_out if first else fan_in
        self.first = first
        self.pool = nn.AvgPool2d(2) if downsample else nn.Identity()
        self.conv1 = _ResidualConv(fan_in, hidden)
        self.conv2 = _ResidualConv(hidden, fan_out)
        self.shortcut = nn.Conv2d(fan_in, fan_out, 1) if downsample or fan_in != fan_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else F.relu(x))  # the image's negative values are signal
        total: Tensor = self.pool(self.conv2(F.relu(h))) + self.shortcut(self.pool(x))
        return total


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class ResNetGenerator(nn.Module):
    """Latents (B, latent_dim), and labels (B,) if conditional, to images (B, channels, height, width).

    The defaults are table 3 (CIFAR-10, 32x32). ``width=64`` with ``max_width=512`` is table 4 (48x48), with
    ``max_width=1024`` table 5 (128x128).

    Args:
        shape: (channels, height, width); the smaller side 4 to 7 times a power of two that divides both sides.
        latent_dim: size of z.
        width: channels of the last block.
        max_width: channels double at each coarser level up to this; None keeps all at ``width``.
        output: "tanh" as in the paper, "linear" or "sigmoid".
        num_classes: classes that condition the generator (its blocks' batch normalisations), or None.

    Raises:
        ValueError: a size that exact doublings don't reach, naming the nearest that they do.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 128,
        width: int = 256,
        max_width: int | None = None,
        output: str = "tanh",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        (h, w), doublings = base_and_doublings("ResNetGenerator", shape)
        check_positive("ResNetGenerator", latent_dim=latent_dim)
        widths = _widths("ResNetGenerator", width, max_width, doublings + 1)[::-1]
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.project = nn.Sequential(nn.Linear(latent_dim, widths[0] * h * w), nn.Unflatten(1, (widths[0], h, w)))
        self.blocks = nn.ModuleList(_UpBlock(coarse, fine, num_classes) for coarse, fine in pairwise(widths))
        self.to_image = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, shape[0], 3, padding=1),
            output_layer("ResNetGenerator", output),
        )
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.project(z)
        for block in self.blocks:
            h = block(h, labels)
        images: Tensor = self.to_image(h)
        return images


class ResNetDiscriminator(nn.Module):
    """Images (B, channels, height, width), and labels (B,) if conditional, to logits (B,).

    Without normalisation: SNGAN, or ``constraint=SpectralNorm()`` of any variant, puts the paper's on its layers. It
    has a block more than the generator, the last ones at a constant resolution. The defaults are table 3 (CIFAR-10,
    32x32); ``width=64, max_width=1024, plain_blocks=1`` is table 5 (128x128).

    Args:
        shape: as of the generator.
        width: channels of the first block.
        max_width: channels double at each coarser level up to this; None keeps all at ``width``.
        plain_blocks: blocks at the end that do not halve the sides; the first one always does.
        num_classes: classes that condition the discriminator (by projection), or None.
        out_features: numbers a row; above one they are features (B, out_features), and there are no classes.
        minibatch_std: whether the pooling and the last layer see the standard deviation over groups of rows.

    Raises:
        ValueError: a size that exact doublings don't reach, naming the nearest that they do.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 128,
        max_width: int | None = None,
        plain_blocks: int = 2,
        num_classes: int | None = None,
        out_features: int = 1,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        _, doublings = base_and_doublings("ResNetDiscriminator", shape)
        check_positive("ResNetDiscriminator", plain_blocks=plain_blocks)
        halvings = max(1, doublings + 1 - plain_blocks)
        widths = _widths("ResNetDiscriminator", width, max_width, halvings)
        widths = [shape[0], *widths, *[widths[-1]] * (doublings + 1 - halvings)]
        self.shape = tuple(shape)
        blocks = [
            _DownBlock(fine, coarse, downsample=level < halvings, first=level == 0)
            for level, (fine, coarse) in enumerate(pairwise(widths))
        ]
        self.blocks = nn.Sequential(*blocks, *([MinibatchStdDev()] if minibatch_std else []))
        self.head = LogitHead(widths[-1] + minibatch_std, num_classes, out_features)
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        features = F.relu(self.blocks(x)).sum((2, 3))
        logits: Tensor = self.head(features, labels)
        return logits
