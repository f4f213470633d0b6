"""The non-saturating GAN (Goodfellow et al., 2014, section 3)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import NonSaturating


class NSGAN(GANModule):
    """D as in the minimax game; G minimises -E log D(G(z)) (Goodfellow et al., 2014, section 3).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, **kwargs: Any) -> None:
        super().__init__(generator, discriminator, loss=NonSaturating(), **kwargs)
