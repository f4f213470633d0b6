"""Classes that bound a mean square over data and fakes, by an augmented Lagrangian."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.losses.function_class import FunctionClass


@dataclass(frozen=True)
class MeanSquareBall(FunctionClass):
    """Omega(f) <= 1, for Omega a mean square over mu, the even mixture of data and fakes.

    D ascends E f(x) - E f(G(z)) + lambda (1 - Omega) - rho / 2 (Omega - 1)^2, and after each of its draws lambda, which
    is remembered, moves by rho (Omega - 1) (Mroueh and Sercu, 2017, eq. 9 and Algorithm 1). The divergence is the
    difference over sqrt(Omega), which is 1 only as far as lambda has settled, at half the divergence. Lambda is in
    float64, for in float32 a number near 1/2 does not move by steps of 1e-8.

    Args:
        rho: weight of the square and step of lambda. At the papers' 1e-6 lambda takes 1e5 steps and more to settle.
    """

    rho: float = 1e-6

    def __post_init__(self) -> None:
        if not self.rho > 0:
            raise ValueError(f"{type(self).__name__}(rho={self.rho}): must be positive.")

    @abstractmethod
    def square(self, d: DiscriminatorPass, rows: str) -> Tensor:
        """The square whose mean is bounded, at the "real" or "fake" rows, (B, ...)."""

    def omega(self, d: DiscriminatorPass) -> Tensor:
        """The mean square over mu, of the rows of all processes: a scalar."""
        return (d.mean(self.square(d, "real")) + d.mean(self.square(d, "fake"))).mean() / 2

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        excess = self.omega(d) - 1
        multiplier = d.memory["multiplier"].to(excess.dtype)
        return -self.difference(d) + multiplier * excess + 0.5 * self.rho * excess.square()

    def init(self) -> Memory:
        return {"multiplier": torch.zeros((), dtype=torch.float64)}

    def update(self, d: DiscriminatorPass) -> Memory:
        multiplier = d.memory["multiplier"]
        return {"multiplier": multiplier + self.rho * (self.omega(d) - 1).to(multiplier)}
