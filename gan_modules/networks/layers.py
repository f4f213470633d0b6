"""Pieces that several networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentInput(nn.Module):
    """The generator's input: z, with a learned embedding of the class beside it where there are classes."""

    def __init__(self, latent_dim: int, num_classes: int | None, embedding_dim: int = 32) -> None:
        super().__init__()
        self.embedding = None if num_classes is None else nn.Embedding(num_classes, embedding_dim)
        self.out_features = latent_dim + (0 if num_classes is None else embedding_dim)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is None:
            return z
        if labels is None:
            raise ValueError("A class-conditional generator needs labels; got None.")
        return torch.cat([z, self.embedding(labels)], dim=1)


class LogitHead(nn.Module):
    """A linear logit on features h, with the projection term <embedding(y), h> of Miyato and Koyama (2018, eq. 3)."""

    def __init__(self, in_features: int, num_classes: int | None) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)
        self.embedding = None if num_classes is None else nn.Embedding(num_classes, in_features)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.linear(features).squeeze(1)
        if self.embedding is None:
            return logits
        if labels is None:
            raise ValueError("A class-conditional discriminator needs labels; got None.")
        projection: Tensor = (self.embedding(labels) * features).sum(1)
        return logits + projection


def check_positive(owner: str, **sizes: int) -> None:
    """Raise ValueError naming the first size that is not a positive integer."""
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{owner}({name}={value}): {name} must be at least 1.")


OUTPUTS: dict[str, type[nn.Module]] = {"linear": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def output_layer(owner: str, output: str) -> nn.Module:
    """The generator's last nonlinearity by name: linear (whitened data), tanh ([-1, 1]) or sigmoid ([0, 1])."""
    if output not in OUTPUTS:
        raise ValueError(f"{owner}(output={output!r}): output must be one of {sorted(OUTPUTS)}.")
    return OUTPUTS[output]()
