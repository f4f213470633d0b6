"""Wasserstein GAN with gradient penalty (Gulrajani et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import Wasserstein
from gan_modules.penalties import GradientPenalty, Penalty
from gan_modules.rules import Alternating, UpdateRule


class WGANGP(GANModule):
    """min_G max_f E f(x) - E f(G(z)) - weight E (||grad f|| - 1)^2 between both (Gulrajani et al., 2017, eq. 3).

    The critic should have no batch normalisation: the penalty is on single rows.

    Args:
        generator: maps z to samples.
        discriminator: the critic, maps samples to real numbers.
        gp_weight: the paper's lambda.
        penalties: further penalties, after the gradient penalty.
        rule: five critic steps per generator step if None, as in the paper.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        gp_weight: float = 10.0,
        penalties: Sequence[Penalty] = (),
        rule: UpdateRule | None = None,
        **kwargs: Any,
    ) -> None:
        rule = Alternating(n_critic=5) if rule is None else rule
        penalties = (GradientPenalty(gp_weight), *penalties)
        super().__init__(generator, discriminator, loss=Wasserstein(), penalties=penalties, rule=rule, **kwargs)
