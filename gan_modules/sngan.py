"""Spectrally normalised GAN (Miyato, Kataoka, Koyama and Yoshida, 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, Hinge
from gan_modules.penalties import SpectralNorm


class SNGAN(GANModule):
    """The hinge loss with a discriminator whose weights have spectral norm 1 (Miyato et al., 2018, sections 2.1 and 4).

    The normalisation is put on the layers of the discriminator that is given.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        power_iterations: of a forward in training.
        loss: Hinge() if None.
        kwargs: arguments of GANModule but for ``constraint``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        power_iterations: int = 1,
        loss: AdversarialLoss | None = None,
        **kwargs: Any,
    ) -> None:
        constraint = SpectralNorm(power_iterations)
        loss = Hinge() if loss is None else loss
        super().__init__(generator, discriminator, loss=loss, constraint=constraint, **kwargs)
