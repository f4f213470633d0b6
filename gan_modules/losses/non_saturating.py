"""The non-saturating loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class NonSaturating(AdversarialLoss):
    """D as in minimax, G minimises -E log D(G(z)) (Goodfellow et al., 2014, section 3)."""

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        # -log sigmoid(t) = softplus(-t),  -log(1 - sigmoid(t)) = softplus(t)
        return softplus(-d.real_logits).mean() + softplus(d.fake_logits).mean()

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return softplus(-d.fake_logits).mean()
