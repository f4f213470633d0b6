"""Activations by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn


class MaxMin(nn.Module):
    """GroupSort of size 2 (Anil, Lucas and Grosse, 2019, section 4): features (B, F, ...), each pair of them sorted.

    A permutation at every point, ties included, so that gradients keep their norm: a critic of orthogonal layers and
    MaxMin attains slope 1 everywhere, which one of ReLU layers cannot.

    Raises:
        ValueError: an odd number of features.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2:
            raise ValueError(f"MaxMin sorts pairs of features; got {x.shape[1]} of them: make the number even.")
        first, second = x.reshape(len(x), -1, 2, *x.shape[2:]).unbind(2)
        ordered = first < second  # maximum and minimum would halve the gradient between two equal features
        pairs = [torch.where(ordered, first, second), torch.where(ordered, second, first)]
        return torch.stack(pairs, 2).flatten(1, 2)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": partial(nn.LeakyReLU, 0.2),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "elu": nn.ELU,
    "maxmin": MaxMin,
}


def activation_layer(owner: str, activation: str) -> nn.Module:
    """The activation called so; raises ValueError that lists those there are."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"{owner}(activation={activation!r}): activation must be one of {sorted(ACTIVATIONS)}.")
    return ACTIVATIONS[activation]()
