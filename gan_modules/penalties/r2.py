"""The zero-centred gradient penalty on generated data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties.base import Gamma, Penalty, Points, check_gamma, gamma_of, squared_norms


@dataclass(frozen=True)
class R2(Penalty):
    """(gamma / 2) E ||grad D(G(z))||^2 over fakes (Mescheder, Geiger and Nowozin, 2018, eq. 10).

    Args:
        gamma: weight, on the same scale as in R1; "auto" likewise.
    """

    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        check_gamma(self)

    @property
    def slope(self) -> tuple[Points, float]:
        return "fake", 0.0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({"fake"})

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * gamma_of(self.gamma, d) * squared_norms(d.gradient("fake")).mean()
