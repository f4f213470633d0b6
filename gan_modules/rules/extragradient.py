"""Extragradient: move by the gradient found a step ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule, field_gradients


@dataclass(frozen=True)
class Extragradient(UpdateRule):
    """x' = x + h v(x);  x <- x + h v(x') (Korpelevich, 1976; for GANs Gidel et al., 2019, eq. 10).

    With Adam it is their Extra-Adam (Algorithm 4): both steps go through the optimizer and its moments.

    Args:
        fresh: take the second gradient on a batch of its own; else on the same batch, at half of the data.
    """

    fresh: bool = False

    @property
    def draws(self) -> int:
        return 2 if self.fresh else 1

    @property
    def cost(self) -> Cost:
        return Cost(2, 2, copies=1)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        start = [optimizer.position() for optimizer in optimizers]
        batch = draw(0)
        field_gradients(game, batch)
        for optimizer in optimizers:
            optimizer.step()
        field_gradients(game, draw(1) if self.fresh else batch)
        for optimizer, position in zip(optimizers, start, strict=True):
            optimizer.move_to(position)
            optimizer.step()
        return state
