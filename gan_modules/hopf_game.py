"""The normal form of a Hopf bifurcation, as a game."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gan_modules.dynamics import MatrixJacobian
from gan_modules.toy_game import ToyGame


class HopfGame(ToyGame):
    """dz/dt = (-a + i w - c |z|^2) z for z = x + i y, player 1 at x and player 2 at y (Guckenheimer and Holmes, 1983).

    L1 = a x^2/2 + w x y + c (x^4/4 + x^2 y^2/2),  L2 = a y^2/2 - w x y + c (y^4/4 + x^2 y^2/2).

    A model of training with damping a: the flow converges, but simultaneous steps of size h do so only below
    h* = 2a / (a^2 + w^2); past it there is a circle of exactly known radius.

    Args:
        a: damping.
        w: rotation.
        c: positive: the circle is stable (supercritical); negative: it repels, below h* (subcritical).
        start: x and y at the start.
        kwargs: arguments of GameModule.
    """

    def __init__(
        self, a: float = 0.1, w: float = 1.0, c: float = 1.0, start: Sequence[float] = (0.1, 0.0), **kwargs: Any
    ) -> None:
        super().__init__(start, (1, 1), **kwargs)
        for name, value in (("a", a), ("w", w), ("c", c)):
            if not math.isfinite(value):
                raise ValueError(f"HopfGame({name}={value}): must be finite.")
        self.a, self.w, self.c = a, w, c

    def loss(self, player: int, u: Tensor, v: Tensor) -> Tensor:
        own, other, turn = (v, u, -self.w) if player else (u, v, self.w)
        damping = 0.5 * self.a * own.square() + self.c * (own**4 / 4 + own.square() * other.square() / 2)
        return (damping + turn * own * other).sum()

    def equilibrium(self) -> Tensor:
        return torch.zeros(2, dtype=torch.float64)

    def closed_form_jacobian(self) -> MatrixJacobian:
        matrix = torch.tensor([[-self.a, -self.w], [self.w, -self.a]], dtype=torch.float64)
        return MatrixJacobian(matrix, (1, 1))

    def cycle_radius(self, lr: float) -> float:
        """Radius of the circle that simultaneous steps of size ``lr`` map onto itself; 0 where there is none.

        |1 + h (-a - c r^2 + i w)| = 1, so r^2 = ((1 - sqrt(1 - h^2 w^2)) / h - a) / c.
        """
        if lr * abs(self.w) > 1 or self.c == 0:
            return 0.0
        return math.sqrt(max(0.0, ((1 - math.sqrt(1 - (lr * self.w) ** 2)) / lr - self.a) / self.c))
