"""Whitening one coordinate after the other."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.dense import DenseWhitening, Shrinkage
from datamodules.whitening.moments import Moments
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.spectrum import share

BLOCK = 64  # columns between two matrix products: few enough for the loop over columns to stay in the cache


class CholeskyWhitening(DenseWhitening):
    """y = L^-1 (x - mean) with the covariance's estimate L L^T, L lower triangular with a positive diagonal.

    Coordinate j becomes what the earlier ones, in row-major order, don't tell about it: its residual from the linear
    regression on them, divided by the residual's standard deviation L_jj. Of all whitenings this one is causal, and the
    cheapest to fit (Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", 2018, with the precision's factor
    instead).

    A coordinate whose residual w^T x has no variance to speak of counts as determined by the earlier ones: it maps to
    zero, and comes back by regression (a constant one as its mean). That is where the residual variance is at most
    sum_i w_i^2 (d * eps64 * s_i + (eps rms_i)^2), with s_i the variance of coordinate i: what the factorisation can
    tell from zero, and what rounding of the data's dtype may feign.

    The log-determinant is that of the map from the coordinates kept to what they become, -sum_j log L_jj.

    Args:
        shrinkage: of the estimate, see DenseWhitening.

    Raises:
        ValueError: shrinkage neither in [0, 1) nor "oas".
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "factor", "dropped", "floor")
    matrices: ClassVar[int] = 6
    factor: Tensor  # (d, d), lower triangular; the column of a determined coordinate is zero
    dropped: Tensor
    floor: Tensor

    def __init__(self, shrinkage: Shrinkage = 0.0) -> None:
        super().__init__(shrinkage)

    def report(self) -> WhiteningReport:
        """Of the coordinates kept; the condition number is that of their covariance, in O(d^3) time."""
        self._check_fitted()
        kept = self.factor.diagonal() > 0
        factor = self.factor[kept][:, kept]
        spectrum = torch.linalg.svdvals(factor).square()
        return WhiteningReport.of(len(kept), spectrum, spectrum.rsqrt(), dropped=self.dropped, floor=self.floor)

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        covariance = moments.covariance
        d = len(covariance)
        rounding = moments.resolution(covariance.diagonal()).flatten()
        trace, squares = covariance.trace(), covariance.square().sum()
        a = self._share_of_mean(trace, squares, moments.count, d)
        covariance *= 1 - a
        covariance.diagonal().add_(a * trace / d)
        noise = rounding + d * torch.finfo(covariance.dtype).eps * covariance.diagonal()
        factor, residual, floor = factorise(covariance, noise)
        determined = factor.diagonal() == 0
        return {
            "mean": moments.mean,
            "factor": factor,
            "dropped": share(residual[determined].sum(), covariance.trace()),
            "floor": share(floor.max(), covariance.diagonal().max()),
        }

    def _operators(self) -> tuple[Tensor, ...]:
        kept = self.factor.diagonal() > 0
        # with rows of the identity for determined coordinates the factor is regular, and kept ones don't see them
        regular = torch.where(kept[:, None], self.factor, torch.eye(len(kept)).to(self.factor))
        return self.mean, self.factor, regular, kept.to(self.factor)

    # A triangular solve instead of a product with the inverse: its residual is small in each coordinate, so the round
    # trip does not lose a factor sqrt(condition number).

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, _, regular, kept = operators
        centred = (x - mean).flatten(1)
        residuals: Tensor = torch.linalg.solve_triangular(regular.T, centred, upper=True, left=False)
        return (residuals * kept).reshape(x.shape)

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, factor, _, _ = operators
        return (y.flatten(1) @ factor.T).reshape(y.shape) + mean


def factorise(covariance: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The lower triangular factor of a covariance that may be singular, by blocks of columns.

    The residual of coordinate j from the regression on earlier ones is w_j^T x with w_j = L_jj (row j of L^-1), which
    is built along with L. Its variance is L_jj^2; where that is at most sum_i w_ji^2 noise_i, column j is left zero.

    Args:
        covariance: (d, d), symmetric; only the lower triangle is read.
        noise: variance that counts as none in each coordinate, (d,).

    Returns:
        L, (d, d); the residual variances, (d,); and what each of them had to exceed, (d,).
    """
    d = len(covariance)
    factor, inverse = torch.zeros_like(covariance), torch.zeros_like(covariance)
    residual, floor = torch.zeros_like(noise), torch.zeros_like(noise)
    for start in range(0, d, BLOCK):
        stop = min(start + BLOCK, d)
        # what the finished columns leave of these: (d - start, block); and their part in the residuals: (block, stop)
        panel = covariance[start:, start:stop] - factor[start:, :start] @ factor[start:stop, :start].T
        weights = -factor[start:stop, :start] @ inverse[:start, :stop]
        for j in range(stop - start):
            row, done = start + j, slice(start, start + j)
            w = weights[j] - factor[row, done] @ inverse[done, :stop]
            w[row] = 1
            column = panel[j:, j] - factor[row:, done] @ factor[row, done]
            residual[row], floor[row] = column[0], w.square() @ noise[:stop]
            scale = torch.where(residual[row] > floor[row], residual[row], torch.inf).sqrt()
            factor[row:, row] = column / scale
            inverse[row, :stop] = w / scale
    return factor, residual.clamp_(min=0), floor
