"""Wasserstein GAN with any way to keep the critic 1-Lipschitz."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.ipm_gan import IPMGAN
from gan_modules.losses import Lipschitz
from gan_modules.penalties import Constraint, GradientPenalty, Penalty


class LipschitzGAN(IPMGAN):
    """Wasserstein-1 over 1-Lipschitz critics (Arjovsky et al., 2017), by penalty or constraint, as ``by`` says.

    Args:
        generator: maps z to samples.
        discriminator: the critic, maps samples to real numbers.
        by: ``GradientPenalty()`` if None, as in WGAN-GP; ``WeightClipping()``, ``SpectralNorm()``, ``Orthonormal()``.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        by: Penalty | Constraint | None = None,
        **kwargs: Any,
    ) -> None:
        by = GradientPenalty() if by is None else by
        super().__init__(generator, discriminator, function_class=Lipschitz(by), **kwargs)
