"""The relativistic pairing loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class RelativisticPairing(AdversarialLoss):
    """Each fake is judged against the real row it is paired with: f(D(G(z)) - D(x)).

    Jolicoeur-Martineau (2019); Huang et al. (2024), eq. 2. With pairs that stay the same the loss landscape has no
    basin at collapse (Sun, Fang and Schwing, 2020); pairs drawn anew mean all pairs, and those leave a barrier
    (docs/collapse_landscape.md).
    """

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return softplus(d.fake_logits - d.real_logits).mean()  # -log sigmoid(real - fake)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return softplus(d.real_logits - d.fake_logits).mean()
