"""The GAN with R1 (Mescheder, Geiger and Nowozin, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import NonSaturating
from gan_modules.penalties import R1, Penalty
from gan_modules.penalties.base import Gamma


class R1GAN(GANModule):
    """The non-saturating loss + (gamma / 2) E ||grad D(x)||^2 on real rows (Mescheder et al., 2018, eq. 9).

    Locally convergent without a critic schedule; the regulariser of StyleGAN 2 and its successors.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        gamma: weight of R1; the paper's 10 on images in [-1, 1], or "auto": 0.0002 height * width / batch.
        penalties: further penalties.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        gamma: Gamma = 10.0,
        penalties: Sequence[Penalty] = (),
        **kwargs: Any,
    ) -> None:
        penalties = (R1(gamma), *penalties)
        super().__init__(generator, discriminator, loss=NonSaturating(), penalties=penalties, **kwargs)
