"""Unrolled GAN (Metz, Poole, Pfau and Sohl-Dickstein, 2017)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, NonSaturating
from gan_modules.rules import Unrolled, UpdateRule


class UnrolledGAN(GANModule):
    """G sees what D would answer in its next ``k`` steps (Metz et al., 2017, eq. 7); an iteration costs about 2.5 k.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        k: unrolled steps, of plain gradient descent.
        unrolled_lr: their learning rate; that of D's optimizer if None, which is made for Adam and mostly too small.
        loss: NonSaturating() if None.
        rule: another rule than Unrolled(k, unrolled_lr).
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        k: int = 5,
        unrolled_lr: float | None = None,
        loss: AdversarialLoss | None = None,
        rule: UpdateRule | None = None,
        **kwargs: Any,
    ) -> None:
        loss = NonSaturating() if loss is None else loss
        rule = Unrolled(k, unrolled_lr) if rule is None else rule
        super().__init__(generator, discriminator, loss=loss, rule=rule, **kwargs)
