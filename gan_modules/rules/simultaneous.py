"""Simultaneous gradient descent-ascent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule, field_gradients


@dataclass(frozen=True)
class Simultaneous(UpdateRule):
    """Both players move along their gradients at the same point: x <- x + h v(x). Diverges on a bilinear game."""

    @property
    def cost(self) -> Cost:
        return Cost(1, 1)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        field_gradients(game, draw(0))
        for optimizer in optimizers:
            optimizer.step()
        return state
