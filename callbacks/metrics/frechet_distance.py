"""Frechet distance between the Gaussians that real and generated features have the moments of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.moments import extended, mean_and_covariance, merged, no_moments, widened

_EXACT_UP_TO = 1024  # features; below, singular values cost little


class FrechetDistance(SampleMetric):
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) of features, FID where they are Inception's (Heusel et al., 2017).

    Covariances are unbiased. The value is a float64 scalar >= 0, in squared units of the features; symmetric; zero up
    to round-off for identical sets, whatever their rank. It falls with the number of samples towards its limit, so
    compare values at equal numbers only, and with that of as many reals.

    Moments are kept centred in float64 and merged (see ``moments``), so batches, their order, and the split over
    processes change round-off only; a process may have seen nothing.

    Args:
        num_features: d; learnt from the first batch of any process if None.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    higher_is_better = False
    real_moments: Tensor
    fake_moments: Tensor

    def __init__(self, num_features: int | None = None, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        if num_features is not None and num_features < 1:
            raise ValueError(f"num_features={num_features} must be at least 1, or None to learn it from the data.")
        for side in ("real_moments", "fake_moments"):
            self.add_state(side, no_moments(num_features or 0), dist_reduce_fx=merged)

    @property
    def num_features(self) -> int:
        """d, or 0 while it is unknown."""
        return max(len(self.real_moments), len(self.fake_moments)) - 1

    def update(self, features: Tensor, real: bool) -> None:
        """Accumulate features (N, d) of real or of generated samples, any floating dtype, cast to float64.

        Raises:
            ValueError: not 2-D, another d than before, or not finite.
        """
        self._check(features)
        self._widen(features.shape[1])
        side = "real_moments" if real else "fake_moments"
        known = getattr(self, side)
        rows = features.detach().to(known.device).double()  # in this order: not every device has float64
        setattr(self, side, extended(known, rows))

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            ValueError: a side has fewer than two samples.
        """
        for name, moments in (("real", self.real_moments), ("generated", self.fake_moments)):
            if (count := int(moments[0, 0])) < 2:
                raise ValueError(
                    f"FrechetDistance has {count} {name} sample(s), and a covariance needs at least 2: "
                    f"call update(features, real={name == 'real'}) before compute()."
                )
        return gaussian_distance(*mean_and_covariance(self.real_moments), *mean_and_covariance(self.fake_moments))

    def _check(self, features: Tensor) -> None:
        if features.ndim != 2 or not features.is_floating_point():
            raise ValueError(
                f"features of shape {tuple(features.shape)} and {features.dtype} must be floating and (N, d): "
                "flatten each sample's features to one row."
            )
        if self.num_features not in (0, features.shape[1]):
            raise ValueError(
                f"features have d={features.shape[1]} columns, but this metric holds d={self.num_features}: "
                "use one metric for each extractor."
            )
        if not (finite := torch.isfinite(features)).all():
            rows = int((~finite).any(1).sum())
            raise ValueError(f"{rows} of {len(features)} rows of features are not finite: look at the samples.")

    def _widen(self, num_features: int) -> None:
        self.real_moments = widened(self.real_moments, num_features)
        self.fake_moments = widened(self.fake_moments, num_features)

    def _reduce_states(self, incoming_state: Mapping[str, Any]) -> None:
        width = max(self.num_features, *(len(incoming_state[name]) - 1 for name in self._defaults))
        self._widen(width)
        super()._reduce_states({name: widened(incoming_state[name], width) for name in self._defaults})

    def _sync_dist(self, dist_sync_fn: Callable[..., Any] = gather_all_tensors, process_group: Any = None) -> None:
        """Merge over processes by sums: a gather would hold the moments of all of them at once."""
        group = process_group or self.process_group
        widths = {int(width) for width in dist_sync_fn(_integer(self.num_features, self.real_moments), group=group)}
        if len(widths - {0}) > 1:
            raise ValueError(f"processes hold features of different d: {sorted(widths - {0})}.")
        self._widen(max(widths))
        total = partial(_total, gather=dist_sync_fn, group=group)
        self.real_moments = merged(self.real_moments[None], total)
        self.fake_moments = merged(self.fake_moments[None], total)


def gaussian_distance(mean_1: Tensor, covariance_1: Tensor, mean_2: Tensor, covariance_2: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance of two Gaussians (Dowson and Landau, 1982); means (d,), covariances (d, d).

    With S1 = A A^T and S2 = B B^T, (S1 S2)^1/2 has the eigenvalues sqrt eig(A^T B B^T A) = singular values of A^T B.
    """
    root_trace = _nuclear_norm(_factor(covariance_1).T @ _factor(covariance_2))
    distance = (mean_1 - mean_2).square().sum() + covariance_1.trace() + covariance_2.trace() - 2 * root_trace
    return distance.clamp(min=0)


def _nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of the singular values of a matrix (r1, r2).

    They have errors of eps sigma_max from ``svdvals``, and up to sqrt(eps) sigma_max, where they are small, as square
    roots of computed eigenvalues; but reduction to bidiagonal form takes two to five times as long for large matrices.
    """
    norm: Tensor
    if max(matrix.shape) <= _EXACT_UP_TO:
        norm = torch.linalg.svdvals(matrix).sum()
    else:
        smaller = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        norm = torch.linalg.eigvalsh(smaller @ smaller.T).clamp(min=0).sqrt().sum()
    return norm


def _factor(covariance: Tensor) -> Tensor:
    """A (d, r) with A A^T = covariance, r its numerical rank where it is singular (n <= d, a collapsed sample)."""
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor


def _integer(value: int, like: Tensor) -> Tensor:
    return torch.tensor(value, device=like.device)


def _total(part: Tensor, gather: Callable[..., Any], group: Any) -> Tensor:
    if gather is not gather_all_tensors:  # the user's own, which may not go through torch.distributed
        return torch.stack(gather(part, group=group)).sum(0)
    part = part.clone()
    torch.distributed.all_reduce(part, group=group)
    return part
