"""Lazy regularisation: a penalty every so many discriminator steps."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.penalties.base import Penalty
from gan_modules.penalties.discriminator_pass import DiscriminatorPass


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

    def _due(self, batch: GameBatch) -> bool:
        return batch.index is None or batch.index % self.every == 0

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return self.penalty.gradient_at(batch) if self._due(batch) else frozenset()

    def __call__(self, d: DiscriminatorPass) -> Tensor | None:
        value = self.penalty(d) if self._due(d.batch) else None
        return None if value is None else value if d.batch.index is None else self.every * value
