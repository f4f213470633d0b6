"""What losses, penalties and augmentations have in common: terms of the players' losses, and their memory."""

from __future__ import annotations

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass, Memory


class Remembers:
    """An immutable value that may have a memory, which the module holds and checkpoints.

    All evaluations of a draw see the same memory, so that a player's loss stays a function of parameters and batch; the
    next draw sees the one that ``update`` returns. Numbers in it are to be equal on all processes: reduce with
    ``DiscriminatorPass.mean``.
    """

    def init(self) -> Memory:
        """The memory before the first draw; empty for most, which have none."""
        return {}

    def update(self, d: DiscriminatorPass) -> Memory:
        """The memory after a draw, from ``d.memory`` and what D said of it; called without gradients."""
        return d.memory


class Term(Remembers):
    """A term of the discriminator's loss, of the generator's, or of both: scalars to be minimised; immutable.

    Both are functions of the discriminator's pass over the batch, which gives what is asked of it (logits, samples,
    features, input gradients) and computes nothing else. What is not a mean over rows is computed on the rows of all
    processes (``joined``, ``DiscriminatorPass.mean``). A term never detaches what a game's Jacobian needs.
    """

    #: names of D's layers whose outputs the term reads, by ``d.features(rows, layer)``
    layers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name under which the value is logged."""
        return type(self).__name__

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        """The rows ("real", "fake") at which the discriminator's term asks for D's input gradient on this batch."""
        return frozenset()

    def discriminator(self, d: DiscriminatorPass) -> Tensor | None:
        """The term in the discriminator's loss; None where there is none."""
        return None

    def generator(self, d: DiscriminatorPass) -> Tensor | None:
        """The term in the generator's loss; None where there is none."""
        return None
