"""DCGAN (Radford, Metz and Chintala, 2016) for any image size and channel count."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from gan_modules.networks.layers import LatentInput, LogitHead, check_positive, output_layer
from gan_modules.networks.minibatch_std import MinibatchStdDev

_SMALLEST = 4


def _pyramid(owner: str, shape: Sequence[int], width: int) -> list[tuple[int, int, int]]:
    """(channels, height, width) from the image's own size down, halved (rounding up) while a side exceeds 4."""
    if len(shape) != 3:
        raise ValueError(f"{owner}(shape={tuple(shape)}): an image has shape (channels, height, width).")
    channels, h, w = shape
    check_positive(owner, channels=channels, height=h, width=w)
    levels = [(channels, h, w)]
    while max(h, w) > _SMALLEST:
        h, w = (h + 1) // 2, (w + 1) // 2
        levels.append((width * 2 ** (len(levels) - 1), h, w))
    if len(levels) == 1:
        raise ValueError(f"{owner}(shape={tuple(shape)}): an image needs a side above {_SMALLEST}; use the MLP.")
    return levels


def _kernel(height: int, width: int) -> tuple[int, int]:
    """Kernels that halve a side exactly, rounding up, at stride 2 and padding 1: 4 for an even side, 3 for an odd."""
    return 4 - height % 2, 4 - width % 2


def _norm(normalization: str, channels: int) -> list[nn.Module]:
    if normalization not in ("batch", "none"):
        raise ValueError(f"normalization={normalization!r}: must be 'batch' or 'none'.")
    return [nn.BatchNorm2d(channels)] if normalization == "batch" else []


def _initialise(network: nn.Module) -> None:
    """Normal weights with standard deviation 0.02, as the paper states (section 4)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


class DCGANGenerator(nn.Module):
    """Latents (B, latent_dim), and labels (B,) if conditional, to images (B, channels, height, width).

    Args:
        shape: (channels, height, width); a side of more than 4 is doubled up from its size halved, rounding up.
        latent_dim: size of z.
        width: channels before the last layer; doubled at each coarser level.
        normalization: "batch" as in the paper, or "none".
        output: "tanh" as in the paper, "linear" for whitened data, or "sigmoid".
        num_classes: classes that condition the generator, or None.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 128,
        width: int = 64,
        normalization: str = "batch",
        output: str = "tanh",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_positive("DCGANGenerator", latent_dim=latent_dim, width=width)
        levels = _pyramid("DCGANGenerator", shape, width)
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.input = LatentInput(latent_dim, num_classes)
        channels, h, w = levels[-1]
        self.project = nn.Sequential(
            nn.Linear(self.input.out_features, channels * h * w), nn.Unflatten(1, (channels, h, w))
        )
        layers: list[nn.Module] = [*_norm(normalization, channels), nn.ReLU()]
        for coarse, fine in zip(levels[:0:-1], levels[-2::-1], strict=True):
            bias = normalization == "none" or fine is levels[0]
            layers.append(nn.ConvTranspose2d(coarse[0], fine[0], _kernel(*fine[1:]), 2, 1, bias=bias))
            if fine is not levels[0]:
                layers += [*_norm(normalization, fine[0]), nn.ReLU()]
        self.upsample = nn.Sequential(*layers, output_layer("DCGANGenerator", output))
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.upsample(self.project(self.input(z, labels)))
        return images


class DCGANDiscriminator(nn.Module):
    """Images (B, channels, height, width), and labels (B,) if conditional, to logits (B,).

    Args:
        shape: (channels, height, width).
        width: channels after the first layer; doubled at each coarser level.
        normalization: "none", or "batch" as in the paper (real and fake rows then take a forward each).
        num_classes: classes that condition the discriminator (by projection), or None.
        out_features: numbers a row; above one they are features (B, out_features), and there are no classes.
        minibatch_std: whether the last layer sees the standard deviation over groups of rows.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 64,
        normalization: str = "none",
        num_classes: int | None = None,
        out_features: int = 1,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        check_positive("DCGANDiscriminator", width=width)
        levels = _pyramid("DCGANDiscriminator", shape, width)
        self.shape = tuple(shape)
        layers: list[nn.Module] = []
        for fine, coarse in pairwise(levels):
            norm = _norm(normalization, coarse[0])[: fine is not levels[0]]  # none on the first layer
            layers += [nn.Conv2d(fine[0], coarse[0], _kernel(*fine[1:]), 2, 1, bias=not norm), *norm, nn.LeakyReLU(0.2)]
        statistics = [MinibatchStdDev()] if minibatch_std else []
        self.downsample = nn.Sequential(*layers, *statistics, nn.Flatten())
        channels, h, w = levels[-1]
        self.head = LogitHead((channels + minibatch_std) * h * w, num_classes, out_features)
        _initialise(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.downsample(x), labels)
        return logits
