"""The Wasserstein loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class Wasserstein(AdversarialLoss):
    """The critic maximises E D(x) - E D(G(z)), the generator minimises it (Arjovsky et al., 2017, eq. 2).

    An estimate of the Wasserstein-1 distance as far as the critic is 1-Lipschitz: a constraint or penalty sees to it.
    """

    needs_bounded_slope: ClassVar[bool] = True

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return d.fake_logits.mean() - d.real_logits.mean()

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return -d.fake_logits.mean()
