"""Kernels of the maximum mean discrepancy."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


class Kernel(ABC):
    """A positive definite function of pairs of points; immutable. These are functions of the points' distance."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """k(x_i, y_j), shape (N, M), of points (N, d) and (M, d), in float32 at least.

        Raises:
            ValueError: points that are not rows of a matrix, or of different dimensions.
        """
        if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: points of shapes {tuple(x.shape)} and {tuple(y.shape)}; a kernel takes (N, d) "
                "and (M, d). Flatten each row, by x.flatten(1)."
            )
        with torch.autocast(x.device.type, enabled=False):
            return self.of(squared_distances(_wide(x), _wide(y)))

    @abstractmethod
    def of(self, squared: Tensor) -> Tensor:
        """The kernel at squared Euclidean distances, elementwise."""


@dataclass(frozen=True)
class GaussianKernel(Kernel):
    """sum_s exp(-|x - y|^2 / (2 s^2)) over the bandwidths s (Li et al., 2017, section 5).

    Args:
        bandwidths: standard deviations, in units of the points; the paper's by default.
    """

    bandwidths: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)

    def __post_init__(self) -> None:
        _check_positive("GaussianKernel", "bandwidths", self.bandwidths)

    def of(self, squared: Tensor) -> Tensor:
        return torch.stack([(squared / (-2 * s**2)).exp() for s in self.bandwidths]).sum(0)


@dataclass(frozen=True)
class RationalQuadraticKernel(Kernel):
    """sum_a (1 + |x - y|^2 / (2 a))^-a over the alphas a: heavier tails (Bińkowski et al., 2018, section 2.1).

    Args:
        alphas: the smaller, the heavier the tail; the paper's by default.
    """

    alphas: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 5.0)

    def __post_init__(self) -> None:
        _check_positive("RationalQuadraticKernel", "alphas", self.alphas)

    def of(self, squared: Tensor) -> Tensor:
        return torch.stack([(1 + squared / (2 * a)) ** -a for a in self.alphas]).sum(0)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, shape (N, M), of points (N, d) and (M, d); differentiable at any order, coinciding points too.

    By |x|^2 + |y|^2 - 2 x y, without N M d numbers, about a common centre so that little cancels. Rounding may leave
    what is zero a little negative; clamped, it would lose its second derivative.
    """
    centre = x.detach().mean(0)
    x, y = x - centre, y - centre
    return x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _check_positive(owner: str, name: str, values: tuple[float, ...]) -> None:
    if not values or not all(0 < value < math.inf for value in values):
        raise ValueError(f"{owner}({name}={values}): give at least one number, each positive.")
