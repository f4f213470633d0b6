"""Multilayer perceptrons for samples of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from gan_modules.networks.layers import LatentInput, LogitHead, check_positive, output_layer


def _hidden(in_features: int, width: int, depth: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for features in [in_features] + [width] * (depth - 1):
        layers += [nn.Linear(features, width), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers)


class MLPGenerator(nn.Module):
    """Latents (B, latent_dim), and labels (B,) if conditional, to samples (B, *shape).

    Args:
        shape: shape of a sample, for instance (1, 8, 8) or (2,).
        latent_dim: size of z.
        width: units of a hidden layer.
        depth: number of hidden layers.
        output: "linear", "tanh" or "sigmoid".
        num_classes: classes that condition the generator, or None.
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 64,
        width: int = 256,
        depth: int = 3,
        output: str = "linear",
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        check_positive("MLPGenerator", latent_dim=latent_dim, width=width, depth=depth, size=prod(shape))
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.input = LatentInput(latent_dim, num_classes)
        self.hidden = _hidden(self.input.out_features, width, depth)
        self.output = nn.Sequential(nn.Linear(width, prod(shape)), output_layer("MLPGenerator", output))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        flat: Tensor = self.output(self.hidden(self.input(z, labels)))
        return flat.view(-1, *self.shape)


class MLPDiscriminator(nn.Module):
    """Samples (B, *shape), and labels (B,) if conditional, to logits (B,).

    Args:
        shape: shape of a sample.
        width: units of a hidden layer.
        depth: number of hidden layers.
        num_classes: classes that condition the discriminator (by projection), or None.
    """

    def __init__(self, shape: Sequence[int], width: int = 256, depth: int = 3, num_classes: int | None = None) -> None:
        super().__init__()
        check_positive("MLPDiscriminator", width=width, depth=depth, size=prod(shape))
        self.shape = tuple(shape)
        self.hidden = _hidden(prod(shape), width, depth)
        self.head = LogitHead(width, num_classes)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.hidden(x.flatten(1)), labels)
        return logits
