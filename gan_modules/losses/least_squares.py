"""The least-squares loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class LeastSquares(AdversarialLoss):
    """D regresses real rows to 1 and fakes to 0, G pulls fakes to 1, each with weight 1/2 (Mao et al., 2017, eq. 9)."""

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * (d.real_logits - 1).square().mean() + 0.5 * d.fake_logits.square().mean()

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * (d.fake_logits - 1).square().mean()
