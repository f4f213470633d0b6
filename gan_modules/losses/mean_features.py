"""Linear functions of learned features: the distance of their means."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.function_class import FunctionClass
from gan_modules.penalties import Constraint, WeightClipping


@dataclass(frozen=True)
class MeanFeatures(FunctionClass):
    """f = <v, h>, |v|_p <= 1, h D's outputs: |E h(x) - E h(G(z))|_q, 1/p + 1/q = 1 (McGAN; Mroueh et al., 2017).

    The supremum over v is taken in closed form, and D learns h. Means are over the rows of all processes.

    Args:
        p: norm of v, from 1 to inf.
        constraint: what keeps h bounded, without which the distance has no bound; the paper's clipping by default. A
            module that has one of its own takes this loss with ``constraint=None``: SNGAN(loss=MeanFeatures(
            constraint=None)), not both.
    """

    needs_bounded_slope: ClassVar[bool] = True

    p: float = 2.0
    constraint: Constraint | None = field(default=WeightClipping(0.01))

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise ValueError(f"MeanFeatures(p={self.p}): a norm has p from 1 to inf.")

    @property
    def q(self) -> float:
        """The dual norm's exponent."""
        return math.inf if self.p == 1 else 1.0 if self.p == math.inf else self.p / (self.p - 1)

    def difference(self, d: DiscriminatorPass) -> Tensor:
        return self._norm(self._delta(d))

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return self.difference(d)

    def critic(self, logits: Tensor, d: DiscriminatorPass) -> Tensor:
        """<v, h> with the optimal v, which is the gradient of the norm at the difference of means; shape (B,)."""
        delta = self._delta(d)
        with torch.enable_grad():
            delta = delta if delta.requires_grad else delta.requires_grad_()
            (v,) = torch.autograd.grad(self._norm(delta), delta, create_graph=True)
        return _rows(logits).to(v.dtype) @ v

    def _norm(self, delta: Tensor) -> Tensor:
        """|delta|_q; all derivatives are 0 at 0, where it has none and torch's second one is NaN."""
        positive = delta.detach().abs().sum() > 0
        norm: Tensor = torch.linalg.vector_norm(torch.where(positive, delta, 1.0), ord=self.q) * positive
        return norm

    def _delta(self, d: DiscriminatorPass) -> Tensor:
        return d.mean(_rows(d.real_logits)) - d.mean(_rows(d.fake_logits))


def _rows(outputs: Tensor) -> Tensor:
    return outputs.reshape(len(outputs), -1)
