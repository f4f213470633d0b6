"""The unit ball of a Sobolev space: a distance of distribution functions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.mean_square_ball import MeanSquareBall
from gan_modules.penalties.base import squared_norms


@dataclass(frozen=True)
class SobolevBall(MeanSquareBall):
    """E_mu |grad f|^2 <= 1, mu = (p + q) / 2: in one dimension sqrt(int (F_p - F_q)^2 / mu) (Mroueh et al., 2018).

    F are distribution functions. Where no data and no fakes lie the gradient is free, so the distance of distributions
    with a gap between them is infinite.
    """

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({"real", "fake"})

    def square(self, d: DiscriminatorPass, rows: str) -> Tensor:
        return squared_norms(d.gradient(rows))
