"""Competitive gradient descent: the equilibrium of a local bilinear game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_modules.protocols import Game, Jacobian, PlayerOptimizer, by_player
from gan_modules.rules.base import Cost, Draw, UpdateRule, require_plain_gradients


@dataclass(frozen=True)
class CompetitiveGradient(UpdateRule):
    """The step d that solves (I - h M) d = h v, M the mixed blocks of J (Schaefer and Anandkumar, 2019, eq. 3).

    Each player answers what the other is about to do. Solved by conjugate gradients on the normal equations, which
    hold for any two losses (the paper's form needs losses that are each other's negative); both cost the same. Each
    iteration of the solver reads one number on the host.

    Defined for plain gradient descent only; the players' learning rates may differ.

    Args:
        tolerance: of the solver, on the residual relative to the right-hand side.
        max_iterations: of the solver.
    """

    tolerance: float = 1e-6
    max_iterations: int = 20

    def __post_init__(self) -> None:
        if not self.tolerance > 0 or self.max_iterations < 1:
            raise ValueError(
                f"CompetitiveGradient(tolerance={self.tolerance}, max_iterations={self.max_iterations}): the tolerance "
                "must be positive and the iterations at least 1."
            )

    @property
    def cost(self) -> Cost:
        # one product with M and one with M^T start the solver, and each iteration takes two more
        return Cost(1, 1, products=2 * self.max_iterations + 1, copies=6)

    def check(self, optimizers: Sequence[Any]) -> None:
        require_plain_gradients(self, optimizers)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        jacobian = game.jacobian(draw(0))
        rates = [o.rates * torch.ones_like(v) for o, v in zip(optimizers, jacobian.field, strict=True)]
        root = torch.cat(rates).sqrt()  # in y = d / sqrt(h) the system is I - sqrt(h) M sqrt(h)
        y = _least_squares(
            lambda x: x - root * _mixed(jacobian, root * x),
            lambda x: x - root * _mixed_transposed(jacobian, root * x),
            root * torch.cat(jacobian.field),
            self.tolerance,
            self.max_iterations,
        )
        direction = y / root.clamp_min(torch.finfo(root.dtype).tiny)  # a rate of 0 makes y = 0, and moves nothing
        for optimizer, part in zip(optimizers, by_player(direction, jacobian.sizes), strict=True):
            optimizer.gradient = -part  # a plain step of size h then moves by h y / sqrt(h) = d
            optimizer.step()
        return state


def _mixed(jacobian: Jacobian, x: Tensor) -> Tensor:
    first, second = by_player(x, jacobian.sizes)
    return torch.cat([jacobian.rows(0, (None, second)), jacobian.rows(1, (first, None))])


def _mixed_transposed(jacobian: Jacobian, x: Tensor) -> Tensor:
    first, second = by_player(x, jacobian.sizes)
    return torch.cat([jacobian.transposed((None, second))[0], jacobian.transposed((first, None))[1]])


def _least_squares(
    apply: Callable[[Tensor], Tensor],
    transposed: Callable[[Tensor], Tensor],
    b: Tensor,
    tolerance: float,
    max_iterations: int,
) -> Tensor:
    """Conjugate gradients for A^T A x = A^T b (CGLS; Bjorck, 1996, section 7.4), from x = 0."""
    x, residual = torch.zeros_like(b), b
    normal = transposed(residual)
    direction, square = normal, normal @ normal
    goal = tolerance * float(b.norm())
    tiny = torch.finfo(b.dtype).tiny  # 0 / 0 is 0: at b = 0, and where no x is better
    for _ in range(max_iterations):
        image = apply(direction)
        step = square / (image @ image).clamp_min(tiny)
        x = x + step * direction
        residual = residual - step * image
        if float(residual.norm()) <= goal:
            break
        normal = transposed(residual)
        before, square = square, normal @ normal
        direction = normal + (square / before.clamp_min(tiny)) * direction
    return x
