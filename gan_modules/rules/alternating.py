"""Alternating gradient descent-ascent, the customary GAN loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, PlayerOptimizer
from gan_modules.rules.base import Draw, UpdateRule


@dataclass(frozen=True)
class Alternating(UpdateRule):
    """``n_critic`` discriminator steps on fresh batches, then one generator step on the last of them.

    The generator's step uses the latents of the last discriminator step, so that one forward of the generator serves
    both players (Goodfellow et al., 2014, Algorithm 1, draws them anew; the expectation is the same).

    Args:
        n_critic: discriminator steps per generator step, at least 1.
    """

    n_critic: int = 1

    def __post_init__(self) -> None:
        if self.n_critic < 1:
            raise ValueError(f"Alternating(n_critic={self.n_critic}): n_critic must be at least 1.")

    @property
    def draws(self) -> int:
        return self.n_critic

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        for k in range(self.n_critic):
            batch = draw(k)
            game.gradient(DISCRIMINATOR, batch, shared=k == self.n_critic - 1)
            optimizers[DISCRIMINATOR].step()
        game.gradient(GENERATOR, batch)
        optimizers[GENERATOR].step()
        return state
