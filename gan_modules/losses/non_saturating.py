"""The non-saturating loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.minimax import Minimax


@dataclass(frozen=True)
class NonSaturating(Minimax):
    """D as in minimax, G minimises -E log D(G(z)) (Goodfellow et al., 2014, section 3)."""

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return softplus(-d.fake_logits).mean()  # -log sigmoid(t)
