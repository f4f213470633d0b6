"""Adversarial losses: what each player minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties import Constraint, Penalty
from gan_modules.terms import Term


class AdversarialLoss(Term, ABC):
    """A pair of losses, both to be minimised; immutable, without logging, device or detach.

    They read ``d.real_logits`` and ``d.fake_logits``: real numbers of any shape whose first dimension is the batch,
    (B,), (B, 1), a patch map (B, 1, h, w), or features (B, k); and where they need more, samples, features of layers
    and input gradients (see DiscriminatorPass). A generator's loss that leaves real rows alone costs no pass over them.
    """

    #: penalties without which the loss is not what its name says; a module adds them to its own
    penalties: tuple[Penalty, ...] = ()
    #: a constraint of that kind
    constraint: Constraint | None = None
    #: whether the loss is unbounded in the logits, so that something must bound D's slope
    needs_bounded_slope: ClassVar[bool] = False

    @abstractmethod
    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        """The discriminator's loss: a scalar."""

    @abstractmethod
    def generator(self, d: DiscriminatorPass) -> Tensor:
        """The generator's loss: a scalar."""

    def critic(self, logits: Tensor, d: DiscriminatorPass) -> Tensor:
        """The function that the players play over, at points where D says ``logits``: what gradient penalties bound.

        It is the logit itself, but for losses on several outputs of D.
        """
        return logits

    @property
    def critic_is_logit(self) -> bool:
        """Whether ``critic`` is the logit itself, whose gradient D's forward for the loss then serves."""
        return type(self).critic is AdversarialLoss.critic
