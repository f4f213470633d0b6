"""Frechet distance between Gaussians, from factors of their covariances."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Self

from callbacks.metrics.moments import COLUMNS, add_products, mean_and_covariance

_SMALL = 512  # rows and columns; below, singular values cost no more than eigenvalues
_DOUBT = 1e-10  # of a sum of singular values, which their squares may cost


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and a factor A (d, r) of the covariance A A^T, float64.

    A is lower triangular where r = d; it has fewer columns where the covariance is known to be singular.
    """

    mean: Tensor
    factor: Tensor

    @classmethod
    def of_moments(cls, moments: Tensor) -> Self:
        """That of at least two rows with these moments (see ``moments``)."""
        mean, covariance = mean_and_covariance(moments)
        return cls(mean, covariance_factor(covariance))

    @classmethod
    def of_rows(cls, rows: Tensor) -> Self:
        """That of rows (n, d), 2 <= n: their covariance has n - 1 of them as its factor, as a reflection sees them."""
        n, rows = len(rows), rows.double()
        centred = rows - (mean := rows.mean(0))
        # the reflection takes (1, ..., 1) / sqrt n to the first axis, where centred rows are zero
        reflected = centred[1:] + centred[0] / (n**0.5 - 1)
        return cls(mean, reflected.T / (n - 1) ** 0.5)


def frechet_distance(one: Gaussian, other: Gaussian) -> Tensor:
    """Squared 2-Wasserstein distance (Dowson and Landau, 1982), |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2) >= 0.

    With S1 = A A^T and S2 = B B^T, (S1 S2)^1/2 has the eigenvalues sqrt eig(A^T B B^T A) = singular values of A^T B.
    """
    b, a = sorted((one.factor, other.factor), key=lambda factor: factor.shape[1])
    distance = (one.mean - other.mean).square().sum() + a.square().sum() + b.square().sum()
    rank = a.shape[1]
    width = COLUMNS if rank == len(a) else max(rank, 1)  # columns of a lower triangle from i on are zero above row i
    product = torch.cat([a[i:, i : i + width].T @ b[i:] for i in range(0, max(rank, 1), width)])
    return (distance - 2 * nuclear_norm(product)).clamp(min=0)


def nuclear_norm(matrix: Tensor) -> Tensor:
    """Sum of the singular values s of a matrix (r1, r2), with an error of 1e-10 or less of it.

    Reduction to bidiagonal form takes many times as long as that of the smaller product with its transpose to
    tridiagonal form. Eigenvalues s^2 of the product have errors of eps s_max^2, hence s of eps s_max^2 / 2 s. Where
    these are too many, the product's eigenvectors split the rows into those where they are not, and the rest, which is
    orthogonal to them and has singular values of its own.
    """
    norm: Tensor
    if max(matrix.shape) <= _SMALL:
        norm = torch.linalg.svdvals(matrix).sum()
        return norm
    rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    product = rows.new_zeros(len(rows), len(rows))
    add_products(product, rows.T)
    values = torch.linalg.eigvalsh(product).clamp(min=0)
    eps, largest, norm = torch.finfo(values.dtype).eps, values[-1], values.sqrt().sum()
    if (eps * largest / (2 * values.clamp(min=eps * largest).sqrt())).sum() <= _DOUBT * norm or not largest > 0:
        return norm
    values, vectors = torch.linalg.eigh(product)
    small = values < eps**0.5 * largest
    norm = values[~small].sqrt().sum() + nuclear_norm(vectors[:, small].T @ rows)
    return norm


def covariance_factor(covariance: Tensor) -> Tensor:
    """A with A A^T = covariance: (d, d) and lower triangular, or (d, r) for one of rank r < d (a collapsed sample)."""
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > values[-1].clamp(min=0) * len(values) * torch.finfo(values.dtype).eps
    kept[0] = False
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor
