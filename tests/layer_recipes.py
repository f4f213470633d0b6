"""Linear and convolution layers of every kind, and their matrices."""

from __future__ import annotations

import random
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

Layers = dict[str, tuple[nn.Module, tuple[int, ...]]]
_KINDS: dict[tuple[int, bool], type[nn.Module]] = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}
_SIDES = {1: (10, 30), 2: (6, 9), 3: (4, 5)}


def dense(layer: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """The matrix of a layer, one row an input, shape (inputs, outputs)."""
    with torch.no_grad():
        eye = torch.eye(prod(shape), dtype=torch.float64).view(-1, *shape)
        return (layer(eye) - layer(torch.zeros_like(eye[:1]))).flatten(1)


def random_layers(n: int, seed: int = 0) -> Layers:
    """``n`` convolutions in float64 with an input's shape, by a name that tells their settings."""
    draw = random.Random(seed)
    layers: Layers = {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        while len(layers) < n:
            axes, transposed = draw.choice([1, 2, 2, 2, 3]), draw.random() < 0.35
            groups, kernel, dilation = draw.choice([1, 1, 2]), draw.randint(1, 4), draw.choice([1, 1, 2])
            sides = tuple(draw.randint(*_SIDES[axes]) for _ in range(axes))
            reach = dilation * (kernel - 1)
            if reach >= min(sides):
                continue
            settings: dict[str, Any] = {
                "stride": draw.choice([1, 1, 2, 3]),
                "padding": draw.randint(0, reach),
                "dilation": dilation,
                "groups": groups,
            }
            if transposed:
                settings["output_padding"] = draw.randrange(max(settings["stride"], dilation))
            else:
                settings["padding_mode"] = draw.choice(["zeros", "zeros", "circular", "reflect", "replicate"])
            channels = groups * draw.randint(1, 3), groups * draw.randint(1, 3)
            layer = _KINDS[axes, transposed](*channels, kernel, **settings).double()  # type: ignore[call-arg]
            told = ",".join(f"{value}" for value in settings.values())
            name = f"{len(layers)}-{type(layer).__name__}({channels[0]},{channels[1]},{kernel},{told})"
            layers[name] = layer, (channels[0], *sides)
    return layers
