"""DRAGAN (Kodali, Abernethy, Hays and Kira, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import NonSaturating
from gan_modules.penalties import DRAGANPenalty, Penalty


class DRAGAN(GANModule):
    """The non-saturating loss, and D's gradient kept near norm 1 around the data (Kodali et al., 2017, Algorithm 1).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        gp_weight: the paper's lambda.
        penalties: further penalties.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        gp_weight: float = 10.0,
        penalties: Sequence[Penalty] = (),
        **kwargs: Any,
    ) -> None:
        penalties = (DRAGANPenalty(gp_weight), *penalties)
        super().__init__(generator, discriminator, loss=NonSaturating(), penalties=penalties, **kwargs)
