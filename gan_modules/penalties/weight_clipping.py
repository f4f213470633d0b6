"""Weight clipping, the constraint of the original WGAN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_modules.penalties.base import Constraint


@dataclass(frozen=True)
class WeightClipping(Constraint):
    """Every parameter into [-c, c] after each critic step (Arjovsky et al., 2017, Algorithm 1).

    Args:
        c: bound, positive.
    """

    c: float = 0.01

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise ValueError(f"WeightClipping(c={self.c}): c must be positive.")

    def prepare(self, discriminator: nn.Module) -> None:
        if any(parametrize.is_parametrized(module) for module in discriminator.modules()):
            raise ValueError(
                f"{self}: {type(discriminator).__name__} has parametrised layers (spectral norm, orthonormal weights); "
                "what would be clipped is not their weight. Use one or the other."
            )

    @torch.no_grad()
    def apply(self, discriminator: nn.Module) -> None:
        parameters: list[Tensor] = list(discriminator.parameters())
        torch._foreach_clamp_min_(parameters, -self.c)
        torch._foreach_clamp_max_(parameters, self.c)
