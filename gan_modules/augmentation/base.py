"""What the discriminator is shown instead of a sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import Memory
from gan_modules.terms import Remembers


@dataclass(frozen=True)
class View:
    """What an augmentation is told of the pass it works for.

    Attributes:
        batch: real rows, latents, labels.
        random: random rows of this augmentation's own; ``random.iteration`` is what a schedule goes by.
        player: whose loss is evaluated, GENERATOR (0) or DISCRIMINATOR (1).
        memory: what the augmentation remembers.
        discriminator_loss: the discriminator's loss, without penalties, where D is shown other rows (real, fake); it
            leaves D's buffers (batch statistics, power iterations) as they are.
    """

    batch: GameBatch
    random: RandomRows
    player: int
    memory: Memory
    discriminator_loss: Callable[[Tensor, Tensor], Tensor]


class Augmentation(Remembers, ABC):
    """Maps real and fake rows to what D sees of them; immutable, random by the batch alone.

    In both players' losses, of which the view says whose it is. Penalties then see the augmented rows too.
    Differentiable any number of times, for G learns through it.
    """

    @abstractmethod
    def __call__(self, real: Tensor, fake: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Both kinds of rows, (B, *shape) each, as D sees them, same shapes."""


class RowAugmentation(Augmentation):
    """One that treats real and fake rows alike, each with numbers of its own."""

    @abstractmethod
    def apply(self, x: Tensor, random: RandomRows, memory: Memory) -> Tensor:
        """Rows (B, *shape) as D sees them."""

    def __call__(self, real: Tensor, fake: Tensor, view: View) -> tuple[Tensor, Tensor]:
        return (
            self.apply(real, view.random.under("real"), view.memory),
            self.apply(fake, view.random.under("fake"), view.memory),
        )
