"""Update rules: how two players move in one iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import SGD, Optimizer

from gan_modules.batch import GameBatch
from gan_modules.dynamics.operator import UpdateOperator
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, Jacobian, PlayerOptimizer

Draw = Callable[[int], GameBatch]


@dataclass(frozen=True)
class Cost:
    """What an iteration costs, and what a rule remembers.

    Attributes:
        generator: gradients of the generator.
        discriminator: gradients of the discriminator.
        products: Jacobian products J w or J^T w over both players, at most; one costs about two gradients of both
            players, the first in an iteration more, for it builds the graph.
        memory: copies of all parameters held between iterations, beside what the optimizers hold.
        copies: further copies held during an iteration.
    """

    generator: int
    discriminator: int
    products: float = 0
    memory: float = 0
    copies: float = 0


class UpdateRule(ABC):
    """One iteration of a game, as an immutable value: one object may serve many models.

    A rule asks the game for gradients on the batches of the iteration, and moves the players through the optimizer
    handles it is given. What it must remember between iterations is the state it returns. It knows nothing else of the
    game, and so plays a linearised one as well: that is how ``operator`` knows its stability.
    """

    @property
    def draws(self) -> int:
        """How many independent batches of real rows and latents an iteration uses."""
        return 1

    @property
    def period(self) -> int:
        """Iterations after which the rule repeats itself: 1, unless it counts them."""
        return 1

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What an iteration costs."""

    def check(self, optimizers: Sequence[Optimizer]) -> None:  # noqa: B027, most rules object to nothing
        """Raise ValueError where the rule is not defined with these optimizers; any will do, unless a rule objects."""

    def init(self, game: Game, optimizers: Sequence[PlayerOptimizer]) -> Any:
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

    def operator(self, jacobian: Jacobian, optimizers: Sequence[Optimizer]) -> UpdateOperator:
        """The linear map of one period near an equilibrium with that Jacobian, optimizers' momenta included."""
        return UpdateOperator(self, jacobian, optimizers)


def field_gradients(game: Game, batch: GameBatch) -> None:
    """Both players' gradients at the present point, on one batch."""
    game.gradient(DISCRIMINATOR, batch, shared=True)
    game.gradient(GENERATOR, batch)


def require_plain_gradients(rule: UpdateRule, optimizers: Sequence[Optimizer]) -> None:
    """Raise ValueError unless both optimizers are gradient descent without momentum and weight decay."""
    for optimizer in optimizers:
        altered = [
            f"{name}={group[name]}"
            for group in optimizer.param_groups
            for name in ("momentum", "weight_decay", "maximize")
            if group.get(name)
        ]
        if type(optimizer) is not SGD or altered:
            raise ValueError(
                f"{rule} is defined for plain gradient steps, and {type(optimizer).__name__}"
                f"({', '.join(dict.fromkeys(altered))}) is not one: use torch.optim.SGD with a learning rate only "
                "(--model.generator_optimizer torch.optim.SGD --model.generator_optimizer.lr 0.01, and the same for "
                "--model.discriminator_optimizer), or a rule that works with any optimizer, such as Extragradient."
            )
