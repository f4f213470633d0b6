"""Simultaneous gradient descent-ascent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, PlayerOptimizer
from gan_modules.rules.base import Draw, UpdateRule


@dataclass(frozen=True)
class Simultaneous(UpdateRule):
    """Both players move along their gradients at the same point: x <- x + h v(x). Diverges on a bilinear game."""

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        batch = draw(0)
        game.gradient(DISCRIMINATOR, batch, shared=True)
        game.gradient(GENERATOR, batch)
        for optimizer in optimizers:
            optimizer.step()
        return state
