"""R3GAN's objective: relativistic pairing with both zero-centred gradient penalties (Huang et al., 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import RelativisticPairing
from gan_modules.penalties import R1, R2, Penalty
from gan_modules.penalties.base import Gamma


class R3GAN(GANModule):
    """Relativistic pairing loss + R1 + R2, locally convergent without further tricks (Huang et al., 2024, section 2).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        gamma: weight of R1 and of R2; (gamma / 2) E ||grad D||^2 each. "auto": 0.0002 height * width / batch.
        penalties: further penalties.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        gamma: Gamma = 1.0,
        penalties: Sequence[Penalty] = (),
        **kwargs: Any,
    ) -> None:
        penalties = (R1(gamma), R2(gamma), *penalties)
        super().__init__(generator, discriminator, loss=RelativisticPairing(), penalties=penalties, **kwargs)
