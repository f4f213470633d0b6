"""Consensus optimization: also descend the squared norm of the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule


@dataclass(frozen=True)
class Consensus(UpdateRule):
    """x <- x + h (v - gamma J^T v), which also descends gamma/2 ||v||^2 (Mescheder, Nowozin and Geiger, 2017, eq. 16).

    On a minibatch ||v||^2 is biased by the variance of v. Works with any optimizer (the paper takes RMSprop).

    Args:
        gamma: weight of the squared norm, at least 0.
    """

    gamma: float = 0.1

    def __post_init__(self) -> None:
        if not self.gamma >= 0:
            raise ValueError(f"Consensus(gamma={self.gamma}): gamma must be at least 0.")

    @property
    def cost(self) -> Cost:
        return Cost(1, 1, products=1, copies=2)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        jacobian = game.jacobian(draw(0))
        field = jacobian.field
        for optimizer, v, uphill in zip(optimizers, field, jacobian.transposed(field), strict=True):
            optimizer.gradient = self.gamma * uphill - v  # grad of ||v||^2 / 2 is J^T v
            optimizer.step()
        return state
