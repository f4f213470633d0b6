"""Variances and axes of ill-conditioned Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor


def log_uniform_spectrum(dimension: int, condition_number: float) -> Tensor:
    """Variances from 1 down to 1 / condition_number in equal ratios, (d,) float64.

    Raises:
        ValueError: a condition number below 1 or not finite, or above 1 in one dimension.
    """
    if not 1 <= condition_number < float("inf"):
        raise ValueError(f"condition_number must be at least 1 and finite, got {condition_number}")
    if dimension == 1 and condition_number != 1:
        raise ValueError(f"one dimension has condition_number 1, got {condition_number}; use a larger dimension")
    return condition_number ** -torch.linspace(0, 1, dimension, dtype=torch.float64)


def random_rotations(n: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Haar-distributed orthogonal matrices, (n, d, d) float64.

    The QR decomposition of a matrix of Gaussians, unique and so uniform once R's diagonal is made positive (Mezzadri,
    "How to generate random matrices from the classical compact groups", 2007).
    """
    q, r = torch.linalg.qr(torch.randn(n, dimension, dimension, dtype=torch.float64, generator=generator))
    rotations: Tensor = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    return rotations
