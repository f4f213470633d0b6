"""MMD GAN: a kernel's ball on learned features (Li et al., 2017; Binkowski et al., 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.ipm_gan import IPMGAN
from gan_modules.losses import Kernel, KernelBall, RationalQuadraticKernel
from gan_modules.penalties import GradientPenalty, Penalty


class MMDGAN(IPMGAN):
    """MMD^2 between D's features of real and fake rows, which D makes large and G small (Binkowski et al., 2018).

    The gradient penalty is on the witness function, E k(D(x), D(real)) - E k(D(x), D(fake)).

    Args:
        generator: maps z to samples.
        discriminator: maps samples to features (B, k).
        kernel: on features; RationalQuadraticKernel() if None.
        gp_weight: of the gradient penalty.
        penalties: further penalties.
        kwargs: arguments of GANModule but for ``loss``.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        kernel: Kernel | None = None,
        gp_weight: float = 1.0,
        penalties: Sequence[Penalty] = (),
        **kwargs: Any,
    ) -> None:
        function_class = KernelBall(RationalQuadraticKernel() if kernel is None else kernel)
        penalties = (GradientPenalty(gp_weight), *penalties)
        super().__init__(generator, discriminator, function_class=function_class, penalties=penalties, **kwargs)
