"""The zero-centred gradient penalty on generated data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.penalties.base import Penalty, squared_norms
from gan_modules.penalties.discriminator_pass import DiscriminatorPass


@dataclass(frozen=True)
class R2(Penalty):
    """(gamma / 2) E ||grad D(G(z))||^2 over fakes (Mescheder, Geiger and Nowozin, 2018, eq. 10).

    Args:
        gamma: weight, on the same scale as in R1.
    """

    gamma: float = 1.0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({"fake"})

    def __call__(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * self.gamma * squared_norms(d.gradient("fake")).mean()
