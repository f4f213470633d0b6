"""Adversarial losses: what each player minimises, as a function of the discriminator's logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class AdversarialLoss(ABC):
    """A pair of losses on logits, both to be minimised; immutable, without logging, device or detach.

    Logits are real numbers of any shape whose first dimension is the batch: (B,), (B, 1), or a patch map
    (B, 1, h, w). Losses are means over all of them.
    """

    #: whether ``generator`` reads ``real``; where it does not, the generator's step never evaluates D on real rows
    generator_needs_real: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss from logits of real and of fake rows: a scalar."""

    @abstractmethod
    def generator(self, real: Tensor | None, fake: Tensor) -> Tensor:
        """The generator's loss: a scalar. ``real`` is None unless ``generator_needs_real``."""
