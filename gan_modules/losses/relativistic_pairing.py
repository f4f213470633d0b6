"""The relativistic pairing loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class RelativisticPairing(AdversarialLoss):
    """Each fake is judged against the real row it is paired with: f(D(G(z)) - D(x)).

    Jolicoeur-Martineau (2019); Huang et al. (2024), eq. 2. The loss landscape has no basin at collapse
    (Sun, Fang and Schwing, 2020).
    """

    generator_needs_real: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()  # -log sigmoid(real - fake)

    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        assert real is not None
        return softplus(real - fake).mean()
