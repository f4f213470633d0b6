"""Update rules: how two players move in one iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from gan_modules.batch import GameBatch
from gan_modules.protocols import Game, PlayerOptimizer

Draw = Callable[[int], GameBatch]


class UpdateRule(ABC):
    """One iteration of a game, as an immutable value: one object may serve many models.

    A rule asks the game for gradients on the batches of the iteration, and moves the players through the optimizer
    handles it is given. What it must remember between iterations is the state it returns.
    """

    @property
    def draws(self) -> int:
        """How many independent batches of real rows and latents an iteration uses."""
        return 1

    def init(self, game: Game) -> Any:
        """The state before the first iteration: None, or a tree of tensors and numbers that a checkpoint can hold."""
        return None

    @abstractmethod
    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        """Move both players once and return the new state.

        Args:
            game: gives gradients.
            optimizers: the generator's and the discriminator's handle, in this order.
            draw: ``draw(k)`` is batch k of the iteration, 0 <= k < draws.
            state: what ``init`` or the last ``step`` returned.
        """
