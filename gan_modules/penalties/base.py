"""Penalties that are added to the discriminator's loss, and constraints that its parameters are projected on."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from gan_modules.batch import GameBatch
from gan_modules.penalties.discriminator_pass import DiscriminatorPass


class Penalty(ABC):
    """A term of the discriminator's loss: ``weight * E[...]`` over rows, a scalar; immutable and stateless.

    A penalty never detaches: the training path prunes what a player does not need, and the game Jacobian needs all.
    """

    @property
    def name(self) -> str:
        """The name under which the value is logged."""
        return type(self).__name__

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        """The rows ("real", "fake") at which this penalty asks for D's input gradient on this batch."""
        return frozenset()

    @abstractmethod
    def __call__(self, d: DiscriminatorPass) -> Tensor | None:
        """The penalty on a batch, weight included; None where it is not due."""


class Constraint(ABC):
    """A set of allowed parameters on which the discriminator is projected after each of its steps."""

    @abstractmethod
    def apply(self, discriminator: nn.Module) -> None:
        """Project the parameters in place."""


def squared_norms(gradient: Tensor) -> Tensor:
    """Squared Euclidean norm of each row of (B, *shape): shape (B,)."""
    return gradient.flatten(1).square().sum(1)
