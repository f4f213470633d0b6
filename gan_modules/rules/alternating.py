"""Alternating gradient descent-ascent, the customary GAN loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule


@dataclass(frozen=True)
class Alternating(UpdateRule):
    """``n_critic`` discriminator steps on fresh batches, and one generator step before or after them.

    After them, the generator's step uses the latents of the last discriminator step, so that one forward of the
    generator serves both players (Goodfellow et al., 2014, Algorithm 1, draws them anew; the expectation is the same).
    Before them, it uses the first batch, and the discriminator sees the generator that has moved. The eigenvalues of
    the update are the same either way: those of a product of two maps do not depend on their order.

    Args:
        n_critic: discriminator steps per generator step, at least 1.
        first: who moves first, "discriminator" or "generator".
    """

    n_critic: int = 1
    first: Literal["discriminator", "generator"] = "discriminator"

    def __post_init__(self) -> None:
        if self.n_critic < 1:
            raise ValueError(f"Alternating(n_critic={self.n_critic}): n_critic must be at least 1.")
        if self.first not in ("discriminator", "generator"):
            raise ValueError(f"Alternating(first={self.first!r}): must be 'discriminator' or 'generator'.")

    @property
    def draws(self) -> int:
        return self.n_critic

    @property
    def cost(self) -> Cost:
        return Cost(1, self.n_critic)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        generator_first = self.first == "generator"
        if generator_first:
            game.gradient(GENERATOR, draw(0))
            optimizers[GENERATOR].step()
        for k in range(self.n_critic):
            batch = draw(k)
            game.gradient(DISCRIMINATOR, batch, shared=not generator_first and k == self.n_critic - 1)
            optimizers[DISCRIMINATOR].step()
        if not generator_first:
            game.gradient(GENERATOR, batch)
            optimizers[GENERATOR].step()
        return state
