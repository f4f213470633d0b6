"""Runge-Kutta: follow the flow of the field more exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gan_modules.protocols import Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule, field_gradients, require_plain_gradients

#: order -> (rows of the stages' weights, weights of the step)
_TABLEAUS: dict[int, tuple[list[list[float]], list[float]]] = {
    2: ([[1.0]], [1 / 2, 1 / 2]),  # Heun
    3: ([[1 / 2], [-1.0, 2.0]], [1 / 6, 2 / 3, 1 / 6]),  # Kutta
    4: ([[1 / 2], [0.0, 1 / 2], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),  # the classic one
}


@dataclass(frozen=True)
class RungeKutta(UpdateRule):
    """A step of the flow dx/dt = v(x) of size h, exact to an order (Qin et al., 2020, section 3.2, with 2 and 4).

    The flow of a bilinear game circles: Heun still drifts outward, order 4 contracts slightly. All stages use the same
    batch. Defined for plain gradient descent only.

    Args:
        order: 2, 3 or 4, which is also the number of gradients; order 1 is Simultaneous.
    """

    order: int = 4

    ORDERS: ClassVar[tuple[int, ...]] = tuple(_TABLEAUS)

    def __post_init__(self) -> None:
        if self.order not in _TABLEAUS:
            raise ValueError(f"RungeKutta(order={self.order}): must be 2, 3 or 4; Simultaneous is order 1.")

    @property
    def cost(self) -> Cost:
        return Cost(self.order, self.order, copies=self.order + 1)

    def check(self, optimizers: Sequence[Any]) -> None:
        require_plain_gradients(self, optimizers)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        stages, weights = _TABLEAUS[self.order]
        batch = draw(0)
        start = [optimizer.position() for optimizer in optimizers]
        gradients: list[list[Any]] = []
        for row in [[], *stages]:
            for player, (optimizer, x) in enumerate(zip(optimizers, start, strict=True)):
                if row:
                    optimizer.move_to(x - optimizer.rates * _combined(row, [g[player] for g in gradients]))
            field_gradients(game, batch)
            gradients.append([optimizer.gradient for optimizer in optimizers])
        for player, (optimizer, x) in enumerate(zip(optimizers, start, strict=True)):
            optimizer.move_to(x)
            optimizer.gradient = _combined(weights, [g[player] for g in gradients])
            optimizer.step()
        return state


def _combined(weights: Sequence[float], gradients: Sequence[Any]) -> Any:
    return sum(weight * gradient for weight, gradient in zip(weights, gradients, strict=True) if weight)
