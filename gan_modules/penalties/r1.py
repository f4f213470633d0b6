"""The zero-centred gradient penalty on real data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.penalties.base import Penalty, squared_norms
from gan_modules.penalties.discriminator_pass import DiscriminatorPass


@dataclass(frozen=True)
class R1(Penalty):
    """(gamma / 2) E ||grad D(x)||^2 over real rows x (Mescheder, Geiger and Nowozin, 2018, eq. 9).

    Args:
        gamma: weight; the eigenvalues of the Dirac-GAN move left by gamma / 2.
    """

    gamma: float = 1.0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({"real"})

    def __call__(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * self.gamma * squared_norms(d.gradient("real")).mean()
