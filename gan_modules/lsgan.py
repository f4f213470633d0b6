"""Least-squares GAN (Mao et al., 2017)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import LeastSquares


class LSGAN(GANModule):
    """D regresses real to 1 and fake to 0, G pulls fakes to 1 (Mao et al., 2017, eq. 9).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, **kwargs: Any) -> None:
        super().__init__(generator, discriminator, loss=LeastSquares(), **kwargs)
