"""PacGAN (Lin, Khetan, Fanti and Oh, 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, NonSaturating
from gan_modules.networks import Packed


class PacGAN(GANModule):
    """D judges packs of samples, in which a lack of variety shows (Lin et al., 2018, section 2).

    The batch must be a multiple of ``pack``; the discriminator takes ``pack`` samples joined along their first
    dimension: shape (pack channels, height, width), or (pack size,).

    Args:
        generator: maps z to samples.
        discriminator: maps packs to logits.
        pack: samples a pack.
        loss: NonSaturating() if None.
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        pack: int = 2,
        loss: AdversarialLoss | None = None,
        **kwargs: Any,
    ) -> None:
        loss = NonSaturating() if loss is None else loss
        super().__init__(generator, Packed(discriminator, pack), loss=loss, **kwargs)
