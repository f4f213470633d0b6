"""A mixture of Gaussians of any shape, known exactly."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.truth.base import Truth, most_likely, normalised_weights

# Mass of a 2-D Gaussian within 3 std: the radius is Rayleigh distributed, P(r < 3 std) = 1 - exp(-9/2).
HIGH_QUALITY_MASS = 1 - math.exp(-9 / 2)
_BLOCK = 2**22  # numbers in the largest temporary, 32 MiB


class GaussianMixture(Truth):
    """sum_k w_k N(mean_k, C_k) in d dimensions.

    Distances from modes are Mahalanobis distances |F_k^-1 (x - mean_k)|, in std along each axis of C_k. Time is
    O(N K d), with factors O(N K d^2); memory beyond arguments and results is bounded, whatever N.

    Args:
        means: (K, d), distinct.
        std: of every coordinate, in units of the data, a number or (K,); or factors F_k of the covariances
            C_k = F_k F_k^T, (K, d, d), not singular, triangular or not.
        weights: (K,), positive, normalised here; equal where None.

    Raises:
        ValueError: means not finite, distinct and (K, d); std not positive, or factors not finite and of full rank, or
            of another shape; weights not positive or not (K,).
    """

    def __init__(self, means: Tensor, std: float | Tensor, weights: Tensor | None = None) -> None:
        if means.ndim != 2 or 0 in means.shape or not means.isfinite().all():
            raise ValueError(f"means must be finite and of shape (K, d), got shape {tuple(means.shape)}")
        self.means = means.double()
        modes, self.dimension = means.shape
        if len(distinct := torch.unique(self.means, dim=0)) < modes:
            raise ValueError(f"only {len(distinct)} of {modes} means are distinct; drop the duplicates")
        self.weights = normalised_weights(weights, modes)
        self._set_scale(torch.as_tensor(std, dtype=torch.float64))

    @property
    def radius(self) -> float:
        """How far a sample may lie from its mode, in std (Mahalanobis distance).

        The 2-D protocol calls a sample of high quality within 3 std of a mode (Srivastava et al., "VEEGAN", 2017; Lin
        et al., "PacGAN", 2018), which holds 98.89 % of a Gaussian there. In d dimensions the distance is chi
        distributed around sqrt(d) std, and 3 std would reject nearly every perfect sample of a high-dimensional
        Gaussian; so the chi distribution's quantile of the same mass is used, which in 2-D is 3 std.
        """
        return chi_quantile(self.dimension)

    @cached_property
    def high_quality(self) -> float:  # type: ignore[override]
        """Mass within `radius` of a mode.

        HIGH_QUALITY_MASS from each component's own neighbourhood, and what of its tail falls into those of others:
        nothing unless modes overlap, else by a simulation of the tail alone, with a standard error below 1e-4.
        """
        n, generator = 8192, keyed_generator("high quality")
        modes = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        x = self._place(normal_tail(n, self.dimension, generator), modes)
        return HIGH_QUALITY_MASS + (1 - HIGH_QUALITY_MASS) * float((self.assign(x) >= 0).double().mean())

    def assign(self, x: Tensor) -> Tensor:
        """Mode of each sample: of those within `radius`, the one most likely to have produced it; -1 without any.

        The distance judges quality, as it gives every mode a neighbourhood of the same mass. The posterior probability
        chooses among neighbourhoods that meet: it is Bayes' rule, which mistakes the fewest samples for another mode's,
        where the least Mahalanobis distance would give a narrow mode's samples to any wide one around it. For equal
        weights and one std it is the nearest mode.
        """
        return self._by_block(x, self._rows, self._assign)

    def _assign(self, x: Tensor) -> Tensor:
        distance = self._distances(x)
        return most_likely(self._log_joint(distance), distance <= self.radius)

    def log_density(self, x: Tensor) -> Tensor:
        """Log density at samples."""
        return self._by_block(x, self._rows, lambda rows: torch.logsumexp(self._log_joint(self._distances(rows)), 1))

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples and their modes."""
        modes, noise = self._draw(n, generator)
        return self._place(noise, modes), modes

    def valley(self, first: int, second: int) -> float:
        """Least log density between the first and the last maximum on the segment from one mode's mean to another's.

        For two components of one std it is the saddle's: all critical points lie on that line (Ray and Lindsay, "The
        topography of multivariate normal mixtures", 2005). NaN where there is one maximum, so that no density is below
        it: for two such of equal weight where the means are up to 2 std apart, an overlap from 2 Phi(-1) = .317 on.

        Raises:
            IndexError: a mode that does not exist.
        """
        from scipy.optimize import minimize_scalar  # slow to import, rarely needed

        start, way = self.means[first], self.means[second] - self.means[first]

        def density(t: Tensor) -> Tensor:
            return self.log_density(start + t[:, None] * way)

        grid = torch.linspace(0, 1, 1025, dtype=torch.float64)  # finds the cell, where there are several valleys
        values = density(grid)
        slope = values.diff()
        begin = int((slope <= 0).double().argmax())  # the first maximum, and the last
        end = len(slope) - int((slope.flip(0) >= 0).double().argmax())
        if not begin < (lowest := begin + int(values[begin : end + 1].argmin())) < end:
            return math.nan
        bounds = float(grid[lowest - 1]), float(grid[lowest + 1])
        found = minimize_scalar(
            lambda t: density(grid.new_tensor([t])).item(),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-10},  # between distant modes the valley is a kink
        )
        return min(float(found.fun), float(values[lowest]))

    def _set_scale(self, std: Tensor) -> None:
        """Keep std as (K,) or factors with their inverses, and log |det F_k|, (K,)."""
        modes, dimension = self.means.shape
        if std.shape not in ((), (modes,), (modes, dimension, dimension)):
            raise ValueError(
                f"std must be a number, ({modes},), or factors of covariances ({modes}, {dimension}, {dimension}), "
                f"got shape {tuple(std.shape)}"
            )
        self.std, self._inverse = std if std.ndim == 3 else std.expand(modes), None
        if std.ndim < 3:
            for value in std.flatten().tolist():
                require_positive(std=value)
            self._log_volume = dimension * self.std.log()
            return
        inverse, failed = torch.linalg.inv_ex(std)
        condition = torch.linalg.matrix_norm(std, 1) * torch.linalg.matrix_norm(inverse, 1)
        if (bad := (failed != 0) | ~(condition < 1e12)).any():
            raise ValueError(
                f"the covariance factor of mode {int(bad.nonzero()[0])} is singular or not finite; add a small variance"
                " to the directions that have none"
            )
        self._inverse, self._log_volume = inverse, torch.linalg.slogdet(std).logabsdet

    def _draw(self, n: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        modes = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        return modes, torch.randn(n, self.dimension, dtype=torch.float64, generator=generator)

    def _place(self, noise: Tensor, modes: Tensor) -> Tensor:
        """F_k noise + mean_k for each row's mode k, in the noise's own memory."""
        if self._inverse is None:
            noise.mul_(self.std[modes, None])
        else:
            for mode, factor in enumerate(self.std):
                rows = (modes == mode).nonzero().squeeze(1)
                noise[rows] = noise[rows] @ factor.T
        for part, index in zip(torch.split(noise, self._rows), torch.split(modes, self._rows), strict=True):
            part.add_(self.means[index])
        return noise

    @property
    def _rows(self) -> int:
        """Samples whose distances are taken at once."""
        return max(1, _BLOCK // (self.num_modes * (1 if self._inverse is None else self.dimension) + self.dimension))

    def _distances(self, x: Tensor) -> Tensor:
        means = self.means.to(x.device)
        if self._inverse is None:
            # |x|^2 - 2 x.m + |m|^2 cancels where clusters are narrow and far from the origin.
            mode = "donot_use_mm_for_euclid_dist"
            return torch.cdist(x, means, compute_mode=mode) / self.std.to(x.device)
        deviation = (x - means[:, None]) @ self._inverse.to(x.device).mT  # (K, n, d)
        distance: Tensor = torch.linalg.vector_norm(deviation, dim=2).T
        return distance

    def _log_joint(self, distance: Tensor) -> Tensor:
        """Log of w_k N(x; mean_k, C_k) from distances (n, K)."""
        constant = self.weights.log() - self._log_volume - 0.5 * self.dimension * math.log(2 * math.pi)
        return constant.to(distance.device) - 0.5 * distance.square()


def chi_quantile(dimension: int) -> float:
    """Distance from its mean, in std, within which a Gaussian has HIGH_QUALITY_MASS: 3 in the plane, 36.3 in 1,200."""
    from scipy.special import chdtri  # slow to import, rarely needed

    return math.sqrt(chdtri(dimension, 1 - HIGH_QUALITY_MASS))


def normal_tail(n: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Standard normal vectors farther than `chi_quantile` from 0, (n, d), of lengths spread evenly over that tail."""
    from scipy.special import chdtri  # slow to import, rarely needed

    mass = (1 - HIGH_QUALITY_MASS) * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    lengths = torch.from_numpy(chdtri(dimension, mass.numpy())).sqrt()
    noise = torch.randn(n, dimension, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(noise) * lengths[:, None]
