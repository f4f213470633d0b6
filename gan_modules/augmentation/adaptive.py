"""Augmentation with a probability that follows the discriminator's overfitting."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.augmentation.base import RowAugmentation
from gan_modules.batch import RandomRows
from gan_modules.discriminator_pass import DiscriminatorPass, Memory


@dataclass(frozen=True)
class AdaptiveAugment(RowAugmentation):
    """Each row is augmented with probability p, which a controller adapts (ADA; Karras et al., 2020a, section 3).

    Every ``every`` draws p goes up by a fixed step where r_t = E[sign(D(x))], over those draws' real rows as D sees
    them, is above the target, and down where it is below; it stays in [0, 1]. Overfitting is then what r_t near 1 says,
    which takes a loss whose D separates at logit 0: minimax, non-saturating, least squares around 0, hinge; not
    Wasserstein, nor a relativistic one. In the paper each of the transformations is skipped on its own, and p is free
    above; here a row gets all of them or none.

    Its memory: ``p``; ``signs``, the sum of r over the draws since p last moved; ``draws``, their number.

    Args:
        augmentation: what is done, one without a memory of its own.
        target: of r_t, in (-1, 1).
        images: real rows, of all processes, shown while p goes from 0 to 1 at its fastest.
        every: draws between adaptations.
        start: p before the first.
    """

    augmentation: RowAugmentation
    target: float = 0.6
    images: int = 500_000
    every: int = 4
    start: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.augmentation, RowAugmentation):
            raise TypeError(
                f"AdaptiveAugment(augmentation={self.augmentation!r}): give a RowAugmentation, as DiffAugment()."
            )
        if self.augmentation.init():
            raise ValueError(f"AdaptiveAugment({self.augmentation}): takes an augmentation without memory.")
        if not -1 < self.target < 1:
            raise ValueError(f"AdaptiveAugment(target={self.target}): a mean of signs, so between -1 and 1.")
        if self.images < 1 or self.every < 1:
            raise ValueError(f"AdaptiveAugment(images={self.images}, every={self.every}): both must be at least 1.")
        if not 0 <= self.start <= 1:
            raise ValueError(f"AdaptiveAugment(start={self.start}): a probability is from 0 to 1.")

    def init(self) -> Memory:
        return {"p": torch.tensor(self.start), "signs": torch.zeros(()), "draws": torch.zeros((), dtype=torch.int64)}

    def apply(self, x: Tensor, random: RandomRows, memory: Memory) -> Tensor:
        chosen = random.uniform("chosen") < memory["p"].to(x.device)
        augmented = self.augmentation.apply(x, random, {})
        return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), augmented, x)

    def update(self, d: DiscriminatorPass) -> Memory:
        signs = d.memory["signs"] + d.mean(d.real_logits.sign()).mean()
        draws = d.memory["draws"] + 1
        # by masks, for a branch would wait for the device
        due = draws == self.every
        step = (signs / self.every - self.target).sign() * self.every * d.batch.random.total / self.images
        p = torch.where(due, (d.memory["p"] + step).clamp(0, 1), d.memory["p"])
        return {"p": p, "signs": signs * ~due, "draws": draws * ~due}
