"""GAN with hinge loss (Lim and Ye, 2017; Miyato et al., 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import Hinge


class HingeGAN(GANModule):
    """D minimises E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))), G minimises -E D(G(z)) (Lim and Ye, 2017).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, **kwargs: Any) -> None:
        super().__init__(generator, discriminator, loss=Hinge(), **kwargs)
