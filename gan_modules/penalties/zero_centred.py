"""What the zero-centred gradient penalties on real and on generated rows have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties.base import Gamma, Penalty, Points, check_gamma, gamma_of, squared_norms


@dataclass(frozen=True)
class ZeroCentred(Penalty):
    """(gamma / 2) E ||grad D||^2 over the rows that a subclass names."""

    at: ClassVar[Literal["real", "fake"]]

    gamma: Gamma = 1.0

    def __post_init__(self) -> None:
        check_gamma(self)

    @property
    def slope(self) -> tuple[Points, float]:
        return self.at, 0.0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({self.at})

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return 0.5 * gamma_of(self.gamma, d) * squared_norms(d.gradient(self.at)).mean()
