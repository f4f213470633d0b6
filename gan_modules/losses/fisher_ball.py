"""The unit ball of L2(mu): the Fisher, or chi-squared, distance."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.mean_square_ball import MeanSquareBall


@dataclass(frozen=True)
class FisherBall(MeanSquareBall):
    """E_mu f^2 <= 1, mu = (p + q) / 2: sqrt(int (p - q)^2 / mu) (Mroueh and Sercu, 2017, eq. 5 and Theorem 1).

    At most 2, between disjoint distributions. Needs no constraint on D's slope and no input gradient.
    """

    def square(self, d: DiscriminatorPass, rows: str) -> Tensor:
        return (d.real_logits if rows == "real" else d.fake_logits).square()
