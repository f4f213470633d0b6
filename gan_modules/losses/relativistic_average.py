"""The relativistic average loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


@dataclass(frozen=True)
class RelativisticAverage(AdversarialLoss):
    """Each row is judged against the mean logit of the other side (RaSGAN; Jolicoeur-Martineau, 2019, section 4.2).

    The generator's loss is the discriminator's with the sides exchanged. The means are over the rows of all processes.
    """

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return self._loss(d, up=d.real_logits, down=d.fake_logits)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return self._loss(d, up=d.fake_logits, down=d.real_logits)

    def _loss(self, d: DiscriminatorPass, up: Tensor, down: Tensor) -> Tensor:
        # -log sigmoid(t) = softplus(-t),  -log(1 - sigmoid(t)) = softplus(t)
        return softplus(d.mean(down).mean() - up).mean() + softplus(down - d.mean(up).mean()).mean()
