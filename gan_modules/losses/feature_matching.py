"""Feature matching: the generator reproduces mean features of the discriminator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import PENULTIMATE, DiscriminatorPass, Memory
from gan_modules.losses.base import AdversarialLoss
from gan_modules.losses.non_saturating import NonSaturating
from gan_modules.penalties import Constraint, FeatureMatchingTerm, Penalty


@dataclass(frozen=True)
class FeatureMatching(AdversarialLoss):
    """D learns by ``loss``, and G by |E h(x) - E h(G(z))|^2 of D's features h (Salimans et al., 2016, section 3.1).

    Args:
        features: names of D's layers whose outputs are matched; "penultimate" is the input of its last layer.
        loss: of the discriminator, with its penalties, constraint and memory.
        weight: of the squared distance.
        adversarial: weight of the generator's own loss beside it.
    """

    features: Sequence[str] = (PENULTIMATE,)
    loss: AdversarialLoss = field(default=NonSaturating())
    weight: float = 1.0
    adversarial: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.loss, AdversarialLoss):
            raise TypeError(f"FeatureMatching(loss={self.loss!r}): give an AdversarialLoss, as NonSaturating().")
        if not self.adversarial >= 0:
            raise ValueError(f"FeatureMatching(adversarial={self.adversarial}): a weight is at least 0.")
        object.__setattr__(self, "features", self.term.layers)  # which checks them, and its weight

    @property
    def term(self) -> FeatureMatchingTerm:
        """The generator's squared distance."""
        return FeatureMatchingTerm(self.features, self.weight)

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.term.layers, *self.loss.layers)

    @property
    def penalties(self) -> tuple[Penalty, ...]:  # type: ignore[override]
        return self.loss.penalties

    @property
    def constraint(self) -> Constraint | None:  # type: ignore[override]
        return self.loss.constraint

    @property
    def needs_bounded_slope(self) -> bool:  # type: ignore[override]
        return self.loss.needs_bounded_slope

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return self.loss.gradient_at(batch)

    def init(self) -> Memory:
        return self.loss.init()

    def update(self, d: DiscriminatorPass) -> Memory:
        return self.loss.update(d)

    def critic(self, logits: Tensor, d: DiscriminatorPass) -> Tensor:
        return self.loss.critic(logits, d)

    @property
    def critic_is_logit(self) -> bool:
        return self.loss.critic_is_logit

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return self.loss.discriminator(d)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        matching = self.term.generator(d)
        return matching + self.adversarial * self.loss.generator(d) if self.adversarial else matching
