"""The zero-centred gradient penalty on real data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties.base import Gamma, Penalty, Points, check_gamma, gamma_of, squared_norms


@dataclass(frozen=True)
class R1(Penalty):
    """(gamma / 2) E ||grad D(x)||^2 over real rows x (Mescheder, Geiger and Nowozin, 2018, eq. 9).

    Args:
        gamma: weight; the eigenvalues of the Dirac-GAN move left by gamma / 2. "auto": 0.0002 height * width / batch.
    """

    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        check_gamma(self)

    @property
    def slope(self) -> tuple[Points, float]:
        return "real", 0.0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({"real"})

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * gamma_of(self.gamma, d) * squared_norms(d.gradient("real")).mean()
