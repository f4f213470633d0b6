"""The gradient penalty of WGAN-GP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.penalties.base import Penalty
from gan_modules.penalties.discriminator_pass import DiscriminatorPass


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """weight * E (||grad D(x)|| - target)^2 at random points x between real and fake (Gulrajani et al., 2017, eq. 3).

    Args:
        weight: the paper's lambda.
        target: the norm that the gradient is kept at.
    """

    weight: float = 10.0
    target: float = 1.0

    def __call__(self, d: DiscriminatorPass) -> Tensor:
        mix = d.batch.random.uniform("gradient_penalty").to(d.real.dtype)
        x = torch.lerp(d.fake.to(d.real.dtype), d.real, mix.view(-1, *[1] * (d.real.ndim - 1)))
        # vector_norm has subgradient 0 at 0, where sqrt would give NaN
        norms = torch.linalg.vector_norm(d.gradient_of(x).flatten(1), dim=1)
        penalty: Tensor = self.weight * (norms - self.target).square().mean()
        return penalty
