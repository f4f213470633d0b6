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
        return torch.cat([z, self.embedding(class_labels("generator", labels))], dim=1)


class LogitHead(nn.Module):
    """A linear logit on features h, with the projection term <embedding(y), h> of Miyato and Koyama (2018, eq. 3).

    Features (B, in_features) to logits (B,); to (B, out_features) where ``out_features`` is above one.
    """

    def __init__(self, in_features: int, num_classes: int | None, out_features: int = 1) -> None:
        super().__init__()
        check_outputs(out_features, num_classes)
        self.linear = nn.Linear(in_features, out_features)
        self.embedding = None if num_classes is None else nn.Embedding(num_classes, in_features)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        logits = one_logit(self.linear(features))
        if self.embedding is None:
            return logits
        projection: Tensor = (self.embedding(class_labels("discriminator", labels)) * features).sum(1)
        return logits + projection


def check_outputs(out_features: int, num_classes: int | None) -> None:
    """Raise ValueError for fewer outputs than one, or for several in a class-conditional discriminator."""
    if out_features < 1:
        raise ValueError(f"out_features={out_features}: must be at least 1.")
    if out_features > 1 and num_classes is not None:
        raise ValueError(
            f"out_features={out_features} with num_classes={num_classes}: the projection term that conditions a "
            "discriminator is one number a row, so it has out_features=1."
        )


def one_logit(outputs: Tensor) -> Tensor:
    """(B, 1) to the logits (B,); several outputs, (B, k), as they are."""
    return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs


def class_labels(player: str, labels: Tensor | None) -> Tensor:
    """The labels of a class-conditional network; raises ValueError where there are none."""
    if labels is None:
        raise ValueError(f"A class-conditional {player} needs labels; got None.")
    return labels


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
