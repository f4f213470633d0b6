"""Which modes of the data a generator covers, and how evenly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric


class ModeCoverage(SampleMetric):
    """Mode-collapse statistics from each sample's mode, a number below ``num_modes`` or -1 for none.

    ``compute`` gives float64 scalars:

    - ``modes``: number of modes with at least one generated sample, in [0, K].
    - ``mode_kl``: KL(generated || reference) over modes in nats, >= 0, among samples that are in a mode. The reference
      is the reals' histogram, or uniform where none were given. Infinite where a generated mode does not occur in
      the reference, as the definition has it (no smoothing; give enough reals), and where no sample is in a mode.
    - ``mode_share_min``: share of the rarest mode among all generated samples, in [0, 1/K].
    - ``high_quality``: share of generated samples that are in a mode, in [0, 1].

    Modes and KL after Che et al. (2017, 1612.02136) and Metz et al. (2017, 1611.02163), the share of high-quality
    samples after Srivastava et al. (2017, 1705.07761).

    Args:
        num_modes: K, at least 1.
        reset_real_features: whether ``reset`` forgets the reals' histogram too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    real_counts: Tensor
    fake_counts: Tensor

    def __init__(self, num_modes: int, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        if num_modes < 1:
            raise ValueError(f"num_modes={num_modes} must be at least 1.")
        self.num_modes = num_modes
        for side in ("real_counts", "fake_counts"):  # of -1, 0, ..., K - 1
            self.add_state(side, torch.zeros(num_modes + 1, dtype=torch.int64), dist_reduce_fx="sum")

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
        if (outside := (assignment < -1) | (assignment >= self.num_modes)).any():
            raise ValueError(
                f"assignment has the value {int(assignment[outside][0])}, "
                f"and num_modes={self.num_modes} allows -1 (no mode) to {self.num_modes - 1}."
            )
        counts = torch.bincount(assignment.to(self.fake_counts.device).long() + 1, minlength=self.num_modes + 1)
        if real:
            self.real_counts = self.real_counts + counts
        else:
            self.fake_counts = self.fake_counts + counts

    def compute(self) -> dict[str, Tensor]:
        """The statistics, by name.

        Raises:
            ValueError: no generated samples, or reals of which none is in a mode.
        """
        covered, total = self.fake_counts[1:], self.fake_counts.sum()
        if not total:
            raise ValueError("ModeCoverage has no generated samples: call update(assignment, real=False) first.")
        return {
            "modes": (covered > 0).sum().double(),
            "mode_kl": self._divergence(),
            "mode_share_min": covered.min() / total.double(),
            "high_quality": covered.sum() / total.double(),
        }

    def _divergence(self) -> Tensor:
        generated, reference = self.fake_counts[1:].double(), self.real_counts[1:].double()
        if not self.real_counts.any():
            reference = torch.ones_like(reference)
        elif not reference.any():
            raise ValueError(f"none of {int(self.real_counts.sum())} reals is in a mode: the assignment is wrong.")
        if not generated.any():
            return torch.full_like(generated.sum(), torch.inf)
        p, q = generated / generated.sum(), reference / reference.sum()
        return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum().clamp(min=0)
