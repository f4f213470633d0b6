"""Lazy regularisation: a penalty every so many iterations."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.penalties.base import Penalty, Points


@dataclass(frozen=True)
class LazyPenalty(Penalty):
    """``every`` times the penalty in every ``every``-th iteration, else nothing (Karras et al., 2020, section 3.1).

    Counted in iterations for both players: all draws of an iteration that is due carry the term, each of the n_critic
    steps of D and both steps of an extragradient, so that no rule can meet it on some of its draws only. What depends
    on no iteration, a batch whose index is None, carries the mean, which is the penalty itself.

    Args:
        penalty: what is evaluated lazily; its mean over iterations is unchanged.
        every: period in iterations, at least 1.
    """

    penalty: Penalty
    every: int = 16

    def __post_init__(self) -> None:
        if not isinstance(self.penalty, Penalty):
            raise TypeError(f"LazyPenalty(penalty={self.penalty!r}): give a Penalty, as R1().")
        if self.every < 1:
            raise ValueError(f"LazyPenalty(every={self.every}): every must be at least 1.")

    @property
    def name(self) -> str:
        return self.penalty.name

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.penalty.layers

    @property
    def slope(self) -> tuple[Points, float] | None:
        return self.penalty.slope

    def _weight(self, batch: GameBatch) -> int:
        """Of the penalty on that batch: ``every`` or 0; 1 where the mean is asked for."""
        return 1 if batch.index is None else self.every * (batch.random.iteration % self.every == 0)

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return self.penalty.gradient_at(batch) if self._weight(batch) else frozenset()

    def discriminator(self, d: DiscriminatorPass) -> Tensor | None:
        weight = self._weight(d.batch)
        return _times(weight, self.penalty.discriminator(d)) if weight else None

    def generator(self, d: DiscriminatorPass) -> Tensor | None:
        weight = self._weight(d.batch)
        return _times(weight, self.penalty.generator(d)) if weight else None

    def init(self) -> Memory:
        return self.penalty.init()

    def update(self, d: DiscriminatorPass) -> Memory:
        return self.penalty.update(d)


def _times(weight: int, value: Tensor | None) -> Tensor | None:
    return None if value is None else weight * value
