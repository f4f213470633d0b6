"""How sure a classifier is of each sample, and how evenly samples spread over its classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric


class InceptionScore(SampleMetric):
    """exp E_x KL(p(y | x) || p(y)), of class probabilities p(y | x) with mean p(y) (Salimans et al., 2016, 1606.03498).

    The value is a float64 scalar in [1, K]: K where the classifier is sure of each sample and all K classes are as
    frequent, 1 where it gives all samples the same probabilities. It takes no reals: a single sample of each class,
    repeated, scores K, and what is no class of the classifier is not missed. Read it against that of reals.

    Only sums of p and of p log p are kept, so all samples are one split; values of ten splits are lower, and depend on
    how many samples a split has. Splits draw on the order of samples, sums do not.

    Args:
        kwargs: as of ``SampleMetric``.
    """

    sees = ("probabilities",)
    reals = None
    name = "inception_score"
    higher_is_better = True
    fake_count: Tensor
    fake_sum: Tensor
    fake_log_sum: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("fake_count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("fake_sum", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("fake_log_sum", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor, real: bool = False) -> None:
        """Accumulate class probabilities (N, K), any floating dtype, of generated samples; those of reals are left out.

        Raises:
            ValueError: not 2-D and floating, another K than before, not finite, negative, or not of sum 1 (to 0.01).
        """
        rows = self.checked(probabilities)
        if len(self.fake_sum) not in (0, rows.shape[1]):
            raise ValueError(f"probabilities of {rows.shape[1]} classes, but this metric holds {len(self.fake_sum)}.")
        if (wrong := (rows.min(1).values < 0) | ((rows.sum(1) - 1).abs() > 0.01)).any():
            raise ValueError(
                f"{int(wrong.sum())} of {len(rows)} rows of probabilities are negative or do not sum to 1: "
                "give softmax(logits)."
            )
        if real:
            return
        p = rows.to(self.fake_sum.device).double()
        p = p / p.sum(1, keepdim=True)
        known = self.fake_sum if len(self.fake_sum) else p.new_zeros(p.shape[1])
        self.fake_sum = known + p.sum(0)
        self.fake_log_sum = self.fake_log_sum + torch.xlogy(p, p).sum()
        self.fake_count = self.fake_count + len(p)

    def compute(self) -> Tensor:
        """The score, a float64 scalar.

        Raises:
            ValueError: no generated samples.
        """
        self.require(False, int(self.fake_count), 1)
        mean = self.fake_sum / self.fake_count
        # E KL(p(y|x) || p(y)) = H(p(y)) - E H(p(y|x)), in [0, log K]
        information: Tensor = torch.special.entr(mean).sum() + self.fake_log_sum / self.fake_count
        return information.clamp(min=0).exp()
