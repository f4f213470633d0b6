"""Unrolled discriminator: the generator sees a few of the discriminator's next steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import DISCRIMINATOR, Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule, field_gradients


@dataclass(frozen=True)
class Unrolled(UpdateRule):
    """The generator descends f(theta, phi_k(theta)), phi_k after k gradient steps of D (Metz et al., 2017, eq. 5-7).

    Differentiated through the k steps; both players then move at once, D by one step of its optimizer. The unrolled
    steps are plain gradient descent on the same batch, D's constraint imposed after each; the moves themselves work
    with any optimizer.

    Losses that are not each other's negative enter as L_G, at phi_k, and as -L_D through D's steps: an equilibrium of
    the game then stays one, for there L_D does not depend on what D would do next. (Most losses of a generator leave
    out the terms of real data, which D's steps do change.)

    Args:
        k: unrolled steps, at least 1.
        lr: their learning rate; that of D's optimizer if None.
    """

    k: int = 5
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Unrolled(k={self.k}): k must be at least 1; without unrolling it is Simultaneous.")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"Unrolled(lr={self.lr}): must be positive, or None for the discriminator's.")

    @property
    def cost(self) -> Cost:
        # the way back takes D's half of a product with J^T a step; a Jacobian takes a gradient of each player
        return Cost(self.k + 1, self.k + 1, products=self.k / 2, copies=self.k)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        generator, discriminator = optimizers
        batch, start = draw(0), discriminator.position()
        rates = discriminator.rates if self.lr is None else self.lr
        jacobians = []
        for _ in range(self.k):
            jacobians.append(game.jacobian(batch))
            discriminator.move_to(discriminator.position() + rates * jacobians[-1].field[DISCRIMINATOR])
        field_gradients(game, batch)
        gradient, adjoint = generator.gradient, -discriminator.gradient
        for jacobian in reversed(jacobians):
            # phi' = phi + h v_D(theta, phi), so that a = a' + h J_DD^T a', and theta's share is h J_DG^T a'
            to_generator, to_discriminator = jacobian.transposed((None, rates * adjoint))
            gradient, adjoint = gradient + to_generator, adjoint + to_discriminator
        discriminator.move_to(start)
        generator.gradient, discriminator.gradient = gradient, -jacobians[0].field[DISCRIMINATOR]
        for optimizer in optimizers:
            optimizer.step()
        return state
