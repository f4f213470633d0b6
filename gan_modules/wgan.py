"""Wasserstein GAN with weight clipping (Arjovsky, Chintala and Bottou, 2017)."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import Wasserstein
from gan_modules.penalties import WeightClipping
from gan_modules.rules import Alternating, UpdateRule


class WGAN(GANModule):
    """min_G max_f E f(x) - E f(G(z)) with the critic's weights in [-c, c] (Arjovsky et al., 2017, Algorithm 1).

    Args:
        generator: maps z to samples.
        discriminator: the critic, maps samples to real numbers.
        clip: the bound c.
        rule: five critic steps per generator step if None, as in the paper.
        kwargs: arguments of GANModule but for ``loss`` and ``constraint``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        clip: float = 0.01,
        rule: UpdateRule | None = None,
        **kwargs: Any,
    ) -> None:
        rule = Alternating(n_critic=5) if rule is None else rule
        constraint = WeightClipping(clip)
        super().__init__(generator, discriminator, loss=Wasserstein(), constraint=constraint, rule=rule, **kwargs)
