"""Fisher GAN (Mroueh and Sercu, 2017)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.ipm_gan import IPMGAN
from gan_modules.losses import FisherBall


class FisherGAN(IPMGAN):
    """The metric over critics with E f^2 <= 1 on real and fake rows together (Mroueh and Sercu, 2017, Algorithm 1).

    Args:
        generator: maps z to samples.
        discriminator: the critic, maps samples to real numbers.
        rho: step of the multiplier and weight of the square in the augmented Lagrangian.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        rho: float = 1e-6,
        **kwargs: Any,
    ) -> None:
        super().__init__(generator, discriminator, function_class=FisherBall(rho), **kwargs)
