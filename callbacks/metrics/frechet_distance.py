"""Frechet distance between the Gaussians that real and generated features have the moments of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.moments import extended, mean_and_covariance, widened

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

    name = "fid"
    higher_is_better = False
    real_moments: Tensor
    fake_moments: Tensor

    def __init__(self, num_features: int | None = None, reset_real_features: bool = True, **kwargs: Any) -> None:
        super().__init__(reset_real_features, **kwargs)
        if num_features is not None and num_features < 1:
            raise ValueError(f"num_features={num_features} must be at least 1, or None to learn it from the data.")
        for side in ("real_moments", "fake_moments"):
            self.add_moments(side, num_features)

    def update(self, features: Tensor, real: bool) -> None:
        """Accumulate features (N, d) of real or of generated samples, any floating dtype, cast to float64.

        Raises:
            ValueError: not 2-D, another d than before, or not finite.
        """
        side = "real_moments" if real else "fake_moments"
        rows = self.checked(features)
        known = widened(getattr(self, side), rows.shape[1])
        setattr(self, side, extended(known, rows.to(known.device).double()))  # not every device has float64

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
