"""Lazy regularisation: a penalty every so many discriminator steps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.penalties.base import Penalty, Points


@dataclass(frozen=True)
class LazyPenalty(Penalty):
    """``every`` times the penalty on every ``every``-th draw, nothing on the others (Karras et al., 2020, section 3.1).

    A term of the generator's loss is due every ``every``-th iteration, for of an iteration's draws it sees but one.

    Args:
        penalty: what is evaluated lazily; its mean over draws is unchanged.
        every: period in draws, at least 1.
    """

    penalty: Penalty
    every: int = 16

    def __post_init__(self) -> None:
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

    def _weight(self, batch: GameBatch, count: int | None) -> int:
        """Of the penalty at that count of draws or iterations: ``every`` or 0; 1 where its mean is asked for."""
        return 1 if batch.index is None or count is None else self.every * (count % self.every == 0)

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return self.penalty.gradient_at(batch) if self._weight(batch, batch.index) else frozenset()

    def discriminator(self, d: DiscriminatorPass) -> Tensor | None:
        weight = self._weight(d.batch, d.batch.index)
        return _times(weight, self.penalty.discriminator(d)) if weight else None

    def generator(self, d: DiscriminatorPass) -> Tensor | None:
        weight = self._weight(d.batch, d.batch.random.iteration)
        return _times(weight, self.penalty.generator(d)) if weight else None

    def init(self) -> Memory:
        return self.penalty.init()

    def update(self, d: DiscriminatorPass) -> Memory:
        return self.penalty.update(d)


def _times(weight: int, value: Tensor | None) -> Tensor | None:
    return None if value is None else weight * value
