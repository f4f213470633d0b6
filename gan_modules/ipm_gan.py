"""The GAN that minimises an integral probability metric (Mueller, 1997), by its class of functions."""

from __future__ import annotations

from typing import Any

from torch import nn

from gan_modules.gan import GANModule
from gan_modules.losses import FunctionClass
from gan_modules.rules import Alternating, UpdateRule


class IPMGAN(GANModule):
    """min_G sup_f E f(x) - E f(G(z)) over a class of functions f, which decides what the distance sees.

    ``Bounded`` is total variation, ``Lipschitz`` Wasserstein-1, ``KernelBall`` MMD; ``FisherBall``, ``SobolevBall`` and
    ``MeanFeatures`` bear their names.

    Args:
        generator: maps z to samples.
        discriminator: the critic, maps samples to real numbers, or to features where the class asks for them.
        function_class: the class; it brings the penalty or constraint that keeps D in it.
        rule: five critic steps per generator step if None.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        function_class: FunctionClass,
        rule: UpdateRule | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(function_class, FunctionClass):
            raise TypeError(
                f"IPMGAN(function_class={function_class!r}): give a FunctionClass, as Bounded(), or take GANModule, "
                "whose loss may be any."
            )
        rule = Alternating(n_critic=5) if rule is None else rule
        super().__init__(generator, discriminator, loss=function_class, rule=rule, **kwargs)
