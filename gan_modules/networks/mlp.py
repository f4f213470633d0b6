"""Multilayer perceptrons for samples of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor, nn

from gan_modules.networks.activations import activation_layer
from gan_modules.networks.layers import LatentInput, LogitHead, check_positive, output_layer
from gan_modules.networks.minibatch_std import MinibatchStdDev


def _hidden(owner: str, in_features: int, width: int, depth: int, activation: str) -> nn.Sequential:
    if activation == "maxmin" and width % 2:
        raise ValueError(f"{owner}(width={width}): maxmin sorts pairs of units, so the width must be even.")
    layers: list[nn.Module] = []
    for features in [in_features] + [width] * (depth - 1):
        layers += [nn.Linear(features, width), activation_layer(owner, activation)]
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
        activation: "leaky_relu" (slope 0.2), "relu", "elu", "silu", "softplus", "tanh" or "maxmin".
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent_dim: int = 64,
        width: int = 256,
        depth: int = 3,
        output: str = "linear",
        num_classes: int | None = None,
        activation: str = "leaky_relu",
    ) -> None:
        super().__init__()
        check_positive("MLPGenerator", latent_dim=latent_dim, width=width, depth=depth, size=prod(shape))
        self.shape = tuple(shape)
        self.latent_dim = latent_dim
        self.input = LatentInput(latent_dim, num_classes)
        self.hidden = _hidden("MLPGenerator", self.input.out_features, width, depth, activation)
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
        activation: as of the generator; "maxmin" keeps the gradient's norm, for Lipschitz critics.
        out_features: numbers a row; above one they are features (B, out_features), and there are no classes.
        minibatch_std: whether the last layer sees the standard deviation over groups of rows.
    """

    def __init__(
        self,
        shape: Sequence[int],
        width: int = 256,
        depth: int = 3,
        num_classes: int | None = None,
        activation: str = "leaky_relu",
        out_features: int = 1,
        minibatch_std: bool = False,
    ) -> None:
        super().__init__()
        check_positive("MLPDiscriminator", width=width, depth=depth, size=prod(shape))
        self.shape = tuple(shape)
        self.hidden = _hidden("MLPDiscriminator", prod(shape), width, depth, activation)
        self.statistics = MinibatchStdDev() if minibatch_std else nn.Identity()
        self.head = LogitHead(width + minibatch_std, num_classes, out_features)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.head(self.statistics(self.hidden(x.flatten(1))), labels)
        return logits
