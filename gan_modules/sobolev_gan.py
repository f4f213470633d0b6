"""Sobolev GAN (Mroueh et al., 2018)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.ipm_gan import IPMGAN
from gan_modules.losses import SobolevBall


class SobolevGAN(IPMGAN):
    """The metric over critics with E |grad f|^2 <= 1 on real and fake rows together (Mroueh et al., 2018, Algorithm 1).

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
        super().__init__(generator, discriminator, function_class=SobolevBall(rho), **kwargs)
