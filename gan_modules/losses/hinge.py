"""The hinge loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu

from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """D stops learning from rows beyond the margin 1, G minimises -E D(G(z)) (Lim and Ye, 2017)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()
