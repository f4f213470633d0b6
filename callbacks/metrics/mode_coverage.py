"""Which modes of the data a generator covers, and how evenly."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.known import Known


class ModeCoverage(SampleMetric):
    """Mode-collapse statistics from each sample's mode, a number below ``num_modes`` or -1 for none.

    Modes are those that a known distribution assigns, or the classes of a classifier. ``compute`` gives float64
    scalars; divergences and the entropy are in nats, between the distributions over modes of the samples that are in
    one: p of generated ones, q of reals, or uniform where none were given.

    - ``modes``: number of modes with at least one generated sample, in [0, K].
    - ``mode_kl``: KL(p || q) >= 0. Infinite where a generated mode does not occur in the reals, as the definition
      has it (no smoothing; give enough reals), and where no sample is in a mode.
    - ``mode_reverse_kl``: KL(q || p) >= 0, which lost modes decide. By definition it would be infinite with the first
      of them and tell no more, so half a sample is added to every mode on both sides (Jeffreys' prior): it is finite, a
      lost mode of share q costs about q log(2 q n) for n samples, and equal counts have 0.
    - ``mode_js``: Jensen-Shannon divergence of p and q, in [0, log 2], unsmoothed; log 2 where no sample is in a mode.
    - ``mode_entropy``: entropy of p, in [0, log K]; 0 where no sample is in a mode.
    - ``mode_share_min``: share of the rarest mode among all generated samples, in [0, 1/K].
    - ``high_quality``: share of generated samples that are in a mode, in [0, 1].

    Modes and KL after Che et al. (2017, 1612.02136) and Metz et al. (2017, 1611.02163), the share of high-quality
    samples after Srivastava et al. (2017, 1705.07761).

    Args:
        num_modes: K, at least 1; if None that of ``setup``, else one more than the largest mode that any process saw.
        reset_real_features: whether ``reset`` forgets the reals' histogram too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    sees = ("modes",)
    real_counts: Tensor
    fake_counts: Tensor

    def __init__(self, num_modes: int | None = None, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        if num_modes is not None and num_modes < 1:
            raise ValueError(f"num_modes={num_modes} must be at least 1, or None to learn it from the data.")
        self.num_modes = num_modes
        for side in ("real_counts", "fake_counts"):  # of -1, 0, 1, ...
            self.add_state(side, torch.zeros(1, dtype=torch.int64), dist_reduce_fx="sum")

    def setup(self, known: Known) -> None:
        """Take the number of modes: the truth's where it is known, else the classifier's classes."""
        super().setup(known)
        if self.num_modes is None:
            self.num_modes = known.extractor_classes if known.truth is None else known.truth.num_modes

    def update(self, assignment: Tensor, real: bool) -> None:
        """Count the modes (N,), integers in [-1, K - 1], of real or of generated samples.

        Raises:
            ValueError: not 1-D, not integers, or out of range.
        """
        integers = not (assignment.is_floating_point() or assignment.is_complex() or assignment.dtype == torch.bool)
        if assignment.ndim != 1 or not integers:
            raise ValueError(
                f"assignment of shape {tuple(assignment.shape)} and {assignment.dtype} must be (N,) integers."
            )
        outside = assignment < -1
        if self.num_modes is not None:
            outside |= assignment >= self.num_modes
        if outside.any():
            allowed = "any" if self.num_modes is None else self.num_modes - 1
            raise ValueError(
                f"assignment has the value {int(assignment[outside][0])}, "
                f"and num_modes={self.num_modes} allows -1 (no mode) to {allowed}."
            )
        side = "real_counts" if real else "fake_counts"
        known: Tensor = getattr(self, side)
        counts = torch.bincount(assignment.to(known.device).long() + 1, minlength=len(known))
        setattr(self, side, _widened(known, len(counts)) + counts)

    def compute(self) -> dict[str, Tensor]:
        """The statistics, by name.

        Raises:
            ValueError: no generated samples, or reals of which none is in a mode.
        """
        total, width = self.fake_counts.sum(), 1 + (self.num_modes or 0)
        self.require(False, int(total), 1)
        width = max(width, len(self.fake_counts), len(self.real_counts))
        generated, real = (_widened(counts, width)[1:].double() for counts in (self.fake_counts, self.real_counts))
        if not self.real_counts.any():
            real = torch.ones_like(real)
        elif not real.any():
            raise ValueError(f"none of {int(self.real_counts.sum())} reals is in a mode: the assignment is wrong.")
        return {
            "modes": (generated > 0).sum().double(),
            "mode_kl": _kl(generated, real),
            "mode_reverse_kl": _kl(real + 0.5, generated + 0.5),
            "mode_js": _js(generated, real),
            "mode_entropy": torch.special.entr(generated / generated.sum().clamp(min=1)).sum(),
            "mode_share_min": generated.min() / total if len(generated) else generated.sum(),
            "high_quality": generated.sum() / total,
        }


def _widened(counts: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(counts, (0, max(0, width - len(counts))))


def _kl(first: Tensor, second: Tensor) -> Tensor:
    """KL divergence of the distributions that two lots of counts (K,) are proportional to; infinite without counts."""
    if not first.any():
        return torch.full_like(first.sum(), torch.inf)
    p, q = first / first.sum(), second / second.sum()
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().clamp(min=0)


def _js(first: Tensor, second: Tensor) -> Tensor:
    if not first.any():
        return torch.full_like(first.sum(), math.log(2))
    p, q = first / first.sum(), second / second.sum()
    return (_kl(p, p + q) + _kl(q, p + q)) / 2
