"""Symplectic gradient adjustment: bend the field against its rotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_modules.protocols import Game, PlayerOptimizer, Vector
from gan_modules.rules.base import Cost, Draw, UpdateRule


@dataclass(frozen=True)
class SymplecticAdjustment(UpdateRule):
    """xi + lambda A^T xi, xi = -v and A the antisymmetric part of its Jacobian (Balduzzi et al., 2018, Algorithm 1).

    With ``align`` the sign of lambda is that of <xi, g> <A^T xi, g> / n + 1/10, g = grad ||xi||^2 / 2, so that the
    adjustment draws towards stable points and away from unstable ones (their section 3.5). Near an equilibrium the
    sign is positive. Works with any optimizer.

    Args:
        lambda_: size of the adjustment, at least 0.
        align: choose the sign at every step.
    """

    lambda_: float = 1.0
    align: bool = True

    def __post_init__(self) -> None:
        if not self.lambda_ >= 0:
            raise ValueError(f"SymplecticAdjustment(lambda_={self.lambda_}): lambda_ must be at least 0; see align.")

    @property
    def cost(self) -> Cost:
        return Cost(1, 1, products=2, copies=3)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        jacobian = game.jacobian(draw(0))
        v = jacobian.field
        transposed = jacobian.transposed(v)
        forward = (jacobian.rows(0, v), jacobian.rows(1, v))
        # with xi = -v and its Jacobian -J: A^T xi = (J^T v - J v) / 2, and grad ||xi||^2 / 2 = J^T v
        adjustment = tuple((t - f) / 2 for t, f in zip(transposed, forward, strict=True))
        weight: Tensor | float = self.lambda_
        if self.align:
            n = sum(part.numel() for part in v)
            alignment = -_dot(v, transposed) * _dot((adjustment[0], adjustment[1]), transposed) / n + 0.1
            weight = self.lambda_ * torch.sign(alignment)
        for optimizer, part, bend in zip(optimizers, v, adjustment, strict=True):
            optimizer.gradient = weight * bend - part
            optimizer.step()
        return state


def _dot(a: Vector, b: Vector) -> Tensor:
    return a[0] @ b[0] + a[1] @ b[1]
