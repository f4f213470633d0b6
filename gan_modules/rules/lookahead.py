"""Lookahead: every few iterations, go back part of the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.alternating import Alternating
from gan_modules.rules.base import Cost, Draw, UpdateRule


@dataclass(frozen=True)
class Lookahead(UpdateRule):
    """After every ``k`` iterations of a rule from y: x <- y + alpha (x - y) (Chavdarova et al., 2021, Algorithm 1).

    The average over a turn of the spiral lies near its centre, so that a rule which circles or slowly diverges
    converges. Which ``k`` does depends on the rule and the learning rate; see BilinearGame.

    Args:
        rule: what moves the players in each iteration; Alternating() by default.
        k: iterations between two returns, at least 1.
        alpha: share of the way that is kept, in (0, 1].
    """

    rule: UpdateRule = field(default_factory=Alternating)
    k: int = 5
    alpha: float = 0.5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Lookahead(k={self.k}): k must be at least 1.")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"Lookahead(alpha={self.alpha}): alpha must be in (0, 1].")

    @property
    def draws(self) -> int:
        return self.rule.draws

    @property
    def period(self) -> int:
        return math.lcm(self.k, self.rule.period)

    @property
    def cost(self) -> Cost:
        inner = self.rule.cost
        return Cost(inner.generator, inner.discriminator, inner.products, inner.memory + 1, inner.copies)

    def check(self, optimizers: Sequence[Any]) -> None:
        self.rule.check(optimizers)

    def init(self, game: Game, optimizers: Sequence[PlayerOptimizer]) -> Any:
        slow = [optimizer.position() for optimizer in optimizers]
        return {"rule": self.rule.init(game, optimizers), "slow": slow, "count": 0}

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        slow, count = state["slow"], state["count"]
        if count == 0:
            slow = [optimizer.position() for optimizer in optimizers]
        inner = self.rule.step(game, optimizers, draw, state["rule"])
        count = (count + 1) % self.k
        if count == 0:
            for optimizer, position in zip(optimizers, slow, strict=True):
                optimizer.move_to(position.lerp(optimizer.position(), self.alpha))
        return {"rule": inner, "slow": slow, "count": count}
