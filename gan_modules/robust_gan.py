"""A GAN whose discriminator is trained against an adversary (Zhou and Kraehenbuehl, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from gan_modules.augmentation import AdversarialPerturbation, Augmentation
from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, NonSaturating


class RobustGAN(GANModule):
    """D is trained on rows moved within a ball to where its loss is largest, so that its gradient field is smoother.

    A step of the adversary costs D a forward and an input gradient. On any other variant:
    ``augmentation=[AdversarialPerturbation(eps)]``. As friction on the Dirac-GAN it is dry: training stops within 2 eps
    of the equilibrium.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        eps: radius of the ball, in units of training space.
        norm: "l2" or "linf".
        steps: of projected gradient ascent; 0 is a random point of the ball.
        fakes: whether fake rows are moved as well.
        loss: NonSaturating() if None.
        augmentation: what comes before the adversary.
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        eps: float = 0.1,
        norm: Literal["l2", "linf"] = "l2",
        steps: int = 1,
        fakes: bool = False,
        loss: AdversarialLoss | None = None,
        augmentation: Sequence[Augmentation] = (),
        **kwargs: Any,
    ) -> None:
        adversary = AdversarialPerturbation(eps, norm=norm, steps=steps, fakes=fakes)
        loss = NonSaturating() if loss is None else loss
        super().__init__(generator, discriminator, loss=loss, augmentation=(*augmentation, adversary), **kwargs)
