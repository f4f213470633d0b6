"""The networks of PacGAN's experiments on 2-D mixtures (Lin et al., 2018, section 4.1 and its public code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Maxout(nn.Module):
    """The largest of ``pieces`` linear maps, unit by unit (Goodfellow et al., 2013)."""

    def __init__(self, in_features: int, out_features: int, pieces: int = 5) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features * pieces)
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).view(len(x), -1, self.pieces).amax(2)


class Generator(nn.Sequential):
    """Four layers of 400 with batch normalisation, from 2 latents to points of the plane."""

    latent_dim = 2

    def __init__(self, width: int = 400, depth: int = 4) -> None:
        layers: list[nn.Module] = []
        for k in range(depth):
            layers += [nn.Linear(width if k else self.latent_dim, width), nn.BatchNorm1d(width), nn.ReLU()]
        super().__init__(*layers, nn.Linear(width, 2))


class Discriminator(nn.Sequential):
    """Three maxout layers of 200 with 5 pieces, on packs of ``pack`` points, to logits (B,)."""

    def __init__(self, pack: int = 1, width: int = 200, depth: int = 3) -> None:
        super().__init__(*(Maxout(width if k else 2 * pack, width) for k in range(depth)), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.squeeze(super().forward(x), 1)
