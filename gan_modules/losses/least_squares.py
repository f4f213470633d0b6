"""The least-squares loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class LeastSquares(AdversarialLoss):
    """D regresses real rows to 1 and fakes to 0, G pulls fakes to 1, each with weight 1/2 (Mao et al., 2017, eq. 9)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return 0.5 * (fake - 1).square().mean()
