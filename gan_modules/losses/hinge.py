"""The hinge loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class Hinge(AdversarialLoss):
    """D stops learning from rows beyond the margin 1, G minimises -E D(G(z)) (Lim and Ye, 2017)."""

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return relu(1 - d.real_logits).mean() + relu(1 + d.fake_logits).mean()

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return -d.fake_logits.mean()
