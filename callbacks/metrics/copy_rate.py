"""How often a generator copies its training data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric

_BLOCK = 1 << 24  # products held at once: 64 MiB of float32


class CopyRate(SampleMetric):
    """Share of generated samples as near to a training sample as only the nearest of held-out samples are.

    A generated sample counts where its distance to the nearest training sample is at most the ``quantile`` of the
    held-out samples' such distances. A generator of the data's distribution gives ``quantile``; a higher value says
    that it memorises, one near zero that it stays away from the data. After the data-copying test of Meehan et al.
    (2020, 2004.05675), with held-out data as the yardstick.

    Every process is given the same training and held-out rows, in data or in feature space, flattened.

    Args:
        training: (M, ...) samples the generator was trained on; kept in float32.
        held_out: (H, ...) samples of the same distribution that it has not seen, H >= 1 / quantile.
        quantile: of the held-out distances, in (0, 1); also the expected value without copying.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: no training rows, other or non-finite features, too few held-out rows for the quantile.
    """

    higher_is_better = False
    plot_upper_bound = 1.0
    offset: Tensor
    reference: Tensor
    threshold: Tensor
    copies: Tensor
    count: Tensor

    def __init__(self, training: Tensor, held_out: Tensor, quantile: float = 0.01, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < quantile < 1:
            raise ValueError(f"quantile={quantile} must be in (0, 1).")
        if not len(training):
            raise ValueError("training has no rows.")
        if len(held_out) * quantile < 1:
            raise ValueError(
                f"{len(held_out)} held-out rows do not have a {quantile} quantile: "
                f"give at least {int(1 / quantile)}, or raise the quantile."
            )
        rows = training.detach().flatten(1).float()
        self.register_buffer("offset", rows.mean(0), persistent=False)
        self.register_buffer("reference", rows - rows.mean(0), persistent=False)
        self.register_buffer("threshold", self.distances(held_out).quantile(quantile), persistent=False)
        self.add_state("copies", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, samples: Tensor) -> None:
        """Count generated samples (N, ...), of as many features as the training rows.

        Raises:
            ValueError: another number of features, or not finite.
        """
        near = self.distances(samples) <= self.threshold  # <=: exact copies count where held-out rows have them too
        self.copies = self.copies + near.sum().to(self.copies.device)
        self.count = self.count + len(samples)

    def compute(self) -> Tensor:
        """The share, a float64 scalar in [0, 1].

        Raises:
            ValueError: no generated samples.
        """
        if not self.count:
            raise ValueError("CopyRate has no generated samples: call update(samples) before compute().")
        return self.copies / self.count.double()

    def distances(self, samples: Tensor) -> Tensor:
        """Euclidean distance of each sample (N, ...) to its nearest training row: float32 (N,)."""
        rows = samples.detach().flatten(1).to(self.reference.device).float()
        if rows.shape[1] != self.reference.shape[1]:
            raise ValueError(f"samples have {rows.shape[1]} features, the training rows {self.reference.shape[1]}.")
        if not torch.isfinite(rows).all():
            raise ValueError("samples have values that are not finite: look at the generator.")
        rows = rows - self.offset  # centred, so that products lose few digits
        half_squares = self.reference.square().sum(1) / 2
        blocks = torch.split(rows, max(1, _BLOCK // len(self.reference)))
        # argmin |x - y|^2 = argmin |y|^2 / 2 - x.y; the distance itself is taken without cancellation
        nearest = [torch.addmm(half_squares, block, self.reference.T, alpha=-1).argmin(1) for block in blocks]
        distances: Tensor = torch.linalg.vector_norm(rows - self.reference[torch.cat(nearest)], dim=1)
        return distances
