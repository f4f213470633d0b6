"""Bounded functions: the total variation distance."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.function_class import FunctionClass


@dataclass(frozen=True)
class Bounded(FunctionClass):
    """|f| <= bound, by f = bound tanh(logit): 2 bound TV(p, q), TV = sup_A |p(A) - q(A)| (Arjovsky et al., 2017, S 2).

    Args:
        bound: positive; 1/2 gives the total variation distance, which is 1 between disjoint distributions.
    """

    bound: float = 0.5

    def __post_init__(self) -> None:
        if not self.bound > 0:
            raise ValueError(f"Bounded(bound={self.bound}): must be positive.")

    def critic(self, logits: Tensor, d: DiscriminatorPass) -> Tensor:
        return self.bound * logits.tanh()
