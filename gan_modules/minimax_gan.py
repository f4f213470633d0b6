"""The original GAN (Goodfellow et al., 2014)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import Minimax


class MinimaxGAN(GANModule):
    """min_G max_D E log D(x) + E log(1 - D(G(z))) (Goodfellow et al., 2014, eq. 1); saturates where D is confident.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, **kwargs: Any) -> None:
        super().__init__(generator, discriminator, loss=Minimax(), **kwargs)
