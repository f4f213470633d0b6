"""The saturating loss of the original GAN."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class Minimax(AdversarialLoss):
    """D ascends and G descends V = E log D(x) + E log(1 - D(G(z))) (Goodfellow et al., 2014, eq. 1).

    The generator's gradient vanishes where D is confident; D is a sigmoid of the logit.
    """

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        # -log sigmoid(t) = softplus(-t),  -log(1 - sigmoid(t)) = softplus(t)
        return softplus(-d.real_logits).mean() + softplus(d.fake_logits).mean()

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return -softplus(d.fake_logits).mean()  # E log(1 - sigmoid(t))
