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

    def _due(self, batch: GameBatch) -> bool:
        return batch.index is None or batch.index % self.every == 0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return self.penalty.gradient_at(batch) if self._due(batch) else frozenset()

    def discriminator(self, d: DiscriminatorPass) -> Tensor | None:
        return self._weighted(self.penalty.discriminator(d), d) if self._due(d.batch) else None

    def generator(self, d: DiscriminatorPass) -> Tensor | None:
        return self._weighted(self.penalty.generator(d), d) if self._due(d.batch) else None

    def _weighted(self, value: Tensor | None, d: DiscriminatorPass) -> Tensor | None:
        return value if value is None or d.batch.index is None else self.every * value

    def init(self) -> Memory:
        return self.penalty.init()

    def update(self, d: DiscriminatorPass) -> Memory:
        return self.penalty.update(d)
