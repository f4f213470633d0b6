"""Optimistic gradients, or extragradient from the past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule, field_gradients


@dataclass(frozen=True)
class Optimistic(UpdateRule):
    """x_{t+1} = x_t + 2 d_t - d_{t-1}, d_t the optimizer's step at x_t (Popov, 1980; Daskalakis et al., 2018, eq. 5).

    Extragradient at the price of one gradient: the last step stands in for the step ahead. With Adam it is Optimistic
    Adam (Daskalakis et al., 2018, Algorithm 1).
    """

    @property
    def cost(self) -> Cost:
        return Cost(1, 1, memory=1, copies=2)

    def init(self, game: Game, optimizers: Sequence[PlayerOptimizer]) -> Any:
        return [torch.zeros_like(optimizer.position()) for optimizer in optimizers]

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        field_gradients(game, draw(0))
        displacements = []
        for optimizer, last in zip(optimizers, state, strict=True):
            before = optimizer.position()
            optimizer.step()
            after = optimizer.position()
            displacements.append(after - before)
            optimizer.move_to(2 * after - before - last)
        return displacements
