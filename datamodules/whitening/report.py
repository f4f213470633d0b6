"""What a fitted whitening does, in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self


@dataclass(frozen=True)
class WhiteningReport:
    """What a fitted whitening keeps, drops and repairs; None where it does not depend on data.

    Condition numbers are those of the covariance that the whitening models: the whole estimate, shrunk if it shrinks
    (ZCA, PCA, Cholesky), its diagonal (Standardize), or its average over all cyclic shifts (Fourier). For the last two
    the data's own condition number is at least as large.

    Attributes:
        dimension: d, coordinates of a sample.
        rank: directions that are kept; the others map to zero.
        dropped: share of the total variance, in [0, 1], that the directions left out hold.
        floor: the largest variance taken for rounding, relative to the largest variance.
        condition_before: largest over smallest variance of the kept directions in data space.
        condition_after: the same of what they are mapped to; k becomes k^(1 - power) where epsilon is 0.
        log_determinant: log |det| of the linear map from the kept subspace to its image, in nats: the sum of the logs
            of its gains. With every direction kept, log density of x = log density of forward(x) + log_determinant.
    """

    dimension: int | None = None
    rank: int | None = None
    dropped: float | None = None
    floor: float | None = None
    condition_before: float | None = None
    condition_after: float | None = None
    log_determinant: float | None = None

    @classmethod
    def of(
        cls,
        dimension: int,
        variance: Tensor,
        gain: Tensor,
        *,
        dropped: Tensor,
        floor: Tensor,
        multiplicity: Tensor | float = 1.0,
    ) -> Self:
        """From variances and gains along orthogonal directions; a gain of 0 leaves the direction out.

        Args:
            dimension: of a sample.
            variance: of each direction, in squared units of the data.
            gain: what each is multiplied by.
            dropped: as above, scalar.
            floor: as above, scalar.
            multiplicity: how many real directions each one stands for; broadcasts to variance.
        """
        kept = gain > 0
        weight = torch.as_tensor(multiplicity, dtype=torch.float64, device=gain.device).expand(gain.shape)[kept]
        variance, gain = variance[kept], gain[kept]
        return cls(
            dimension=dimension,
            rank=int(weight.sum()),
            dropped=float(dropped),
            floor=float(floor),
            condition_before=condition_number(variance),
            condition_after=condition_number(variance * gain.square()),
            log_determinant=float((weight * gain.log()).sum()),
        )

    def __str__(self) -> str:
        if self.rank is None:
            return "the same map whatever the data"
        return "\n".join(
            [
                f"kept rank         {self.rank:,} of {self.dimension:,}",
                f"dropped variance  {self.dropped:.3g} of the total",
                f"floor             {self.floor:.3g} of the largest variance",
                f"condition number  {self.condition_before:.4g} before, {self.condition_after:.4g} after",
                f"log-determinant   {self.log_determinant:.6g} nats",
            ]
        )


def condition_number(variance: Tensor) -> float:
    """Largest over smallest; NaN of none."""
    return float(variance.max() / variance.min()) if variance.numel() else math.nan
