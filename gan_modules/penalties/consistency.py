"""Consistency regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.augmentation import RowAugmentation
from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.penalties.base import Penalty


@dataclass(frozen=True)
class Consistency(Penalty):
    """real * E (D(x) - D(T(x)))^2 + fake * E (D(G(z)) - D(T(G(z))))^2 on logits, T a random augmentation.

    Balanced, bCR (Zhao et al., 2021); on real rows alone (``fake=0``) that of CR-GAN (Zhang et al., 2020), in which
    augmentations can leak into what G makes. D goes on seeing rows as they are, and G's loss has no such term.
    Gradients flow through both answers. It costs a forward of D on the augmented rows.

    Args:
        augmentation: T; its memory, if it has one, is the penalty's.
        real: weight at real rows.
        fake: weight at generated ones.
    """

    augmentation: RowAugmentation
    real: float = 10.0
    fake: float = 10.0

    def __post_init__(self) -> None:
        if not isinstance(self.augmentation, RowAugmentation):
            raise TypeError(
                f"Consistency(augmentation={self.augmentation!r}): give a RowAugmentation, as DiffAugment()."
            )
        if not self.real >= 0 or not self.fake >= 0 or self.real == self.fake == 0:
            raise ValueError(
                f"Consistency(real={self.real}, fake={self.fake}): weights are at least 0, and not both of them 0."
            )

    def init(self) -> Memory:
        return self.augmentation.init()

    def update(self, d: DiscriminatorPass) -> Memory:
        return self.augmentation.update(d)

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        random = d.batch.random.under("consistency")
        real, fake = (
            self.augmentation.apply(rows, random.under(name), d.memory)
            for name, rows in {"real": d.real, "fake": d.fake}.items()
        )
        augmented = DiscriminatorPass(d.discriminator, d.batch, real, fake, joint=self.real > 0 and self.fake > 0)
        terms = []
        if self.real:  # a weight of 0 costs no forward
            terms.append(self.real * _distance(d.real_logits, augmented.real_logits))
        if self.fake:
            terms.append(self.fake * _distance(d.fake_logits, augmented.fake_logits))
        return torch.stack(terms).sum()


def _distance(logits: Tensor, others: Tensor) -> Tensor:
    return (logits - others).square().mean()
