"""Negative momentum: take back part of the last step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.alternating import Alternating
from gan_modules.rules.base import Cost, Draw, UpdateRule


@dataclass(frozen=True)
class NegativeMomentum(UpdateRule):
    """Each step of a rule is followed by beta (x_t - x_{t-1}), beta <= 0 (Gidel et al., 2019b, eq. 7).

    Polyak's heavy ball with the sign turned, around whatever the optimizer does. Under alternating updates it makes a
    bilinear game contract; under simultaneous ones nothing does. (torch's own SGD refuses a negative momentum.)

    Args:
        rule: whose steps are followed; Alternating() by default.
        beta: in (-1, 0].
    """

    rule: UpdateRule = field(default_factory=Alternating)
    beta: float = -0.5

    def __post_init__(self) -> None:
        if not -1 < self.beta <= 0:
            raise ValueError(
                f"NegativeMomentum(beta={self.beta}): beta must be in (-1, 0]; for a positive one use the optimizer's."
            )

    @property
    def draws(self) -> int:
        return self.rule.draws

    @property
    def period(self) -> int:
        return self.rule.period

    @property
    def cost(self) -> Cost:
        inner = self.rule.cost
        return Cost(inner.generator, inner.discriminator, inner.products, inner.memory + 1, inner.copies + 1)

    def check(self, optimizers: Sequence[Any]) -> None:
        self.rule.check(optimizers)

    def init(self, game: Game, optimizers: Sequence[PlayerOptimizer]) -> Any:
        last = [torch.zeros_like(optimizer.position()) for optimizer in optimizers]
        return {"rule": self.rule.init(game, optimizers), "last": last}

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        heavy = [_HeavyBall(o, self.beta, last) for o, last in zip(optimizers, state["last"], strict=True)]
        inner = self.rule.step(game, heavy, draw, state["rule"])
        return {"rule": inner, "last": [handle.last for handle in heavy]}


class _HeavyBall:
    """A handle whose steps carry on by ``beta`` times the last one; otherwise the handle it is given."""

    def __init__(self, handle: PlayerOptimizer, beta: float, last: Tensor) -> None:
        self._handle = handle
        self._beta = beta
        self.last = last
        self.optimizer = handle.optimizer
        self.position = handle.position
        self.move_to = handle.move_to

    @property
    def rates(self) -> Tensor:
        return self._handle.rates

    @property
    def gradient(self) -> Tensor:
        return self._handle.gradient

    @gradient.setter
    def gradient(self, value: Tensor) -> None:
        self._handle.gradient = value

    def step(self) -> None:
        before = self.position()
        self._handle.step()
        self.move_to(self.position() + self._beta * self.last)
        self.last = self.position() - before
