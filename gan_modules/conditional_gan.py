"""Class-conditional GAN with a projection discriminator (Miyato and Koyama, 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, Hinge


class ConditionalGAN(GANModule):
    """G makes samples of a class, and D judges a sample and its class: <embedding(y), h(x)> + linear (2018, eq. 3).

    With any loss and penalty. The networks are given ``num_classes`` too, or are your own: G takes (z, labels), D
    (x, labels).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        num_classes: of the data's labels, which the batch must carry.
        loss: Hinge() if None, as in the paper.
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        num_classes: int,
        loss: AdversarialLoss | None = None,
        **kwargs: Any,
    ) -> None:
        if num_classes is None:
            raise ValueError("ConditionalGAN(num_classes=None): give the number of classes of the data's labels.")
        loss = Hinge() if loss is None else loss
        super().__init__(generator, discriminator, loss=loss, num_classes=num_classes, **kwargs)
