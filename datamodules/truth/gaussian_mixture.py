"""A mixture of isotropic Gaussians, known exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.truth.base import Truth

# Mass of a 2-D Gaussian within 3 std: the radius is Rayleigh distributed, P(r < 3 std) = 1 - exp(-9/2).
HIGH_QUALITY_MASS = 1 - math.exp(-9 / 2)


class GaussianMixture(Truth):
    """sum_k w_k N(mean_k, std^2 I) in d dimensions.

    Args:
        means: (K, d), distinct.
        std: of every coordinate of every component, in units of the data.
        weights: (K,), positive, normalised here; equal where None.

    Raises:
        ValueError: means not finite, distinct and (K, d); std not positive; weights not positive or not (K,).
    """

    def __init__(self, means: Tensor, std: float, weights: Tensor | None = None) -> None:
        require_positive(std=std)
        if means.ndim != 2 or 0 in means.shape or not means.isfinite().all():
            raise ValueError(f"means must be finite and of shape (K, d), got shape {tuple(means.shape)}")
        self.means, self.std = means.double(), float(std)
        modes, self.dimension = means.shape
        if len(distinct := torch.unique(self.means, dim=0)) < modes:
            raise ValueError(f"only {len(distinct)} of {modes} means are distinct; drop the duplicates")
        weights = torch.ones(modes) if weights is None else weights
        if weights.shape != (modes,) or not ((weights > 0) & weights.isfinite()).all():
            raise ValueError(f"weights must be positive and of shape ({modes},), got {weights}")
        self.weights = weights.double() / weights.double().sum()
        self.high_quality = HIGH_QUALITY_MASS

    @property
    def radius(self) -> float:
        """How far a sample may lie from its mode, in units of the data.

        The 2-D protocol calls a sample of high quality within 3 std of a mode (Srivastava et al., "VEEGAN", 2017; Lin
        et al., "PacGAN", 2018), which holds 98.89 % of a Gaussian there. In d dimensions the distance is chi
        distributed around sqrt(d) std, and 3 std would reject nearly every perfect sample of a high-dimensional
        Gaussian; so the chi distribution's quantile of the same mass is used, which in 2-D is 3 std.
        """
        from scipy.stats import chi  # slow to import, rarely needed

        return self.std * float(chi.ppf(HIGH_QUALITY_MASS, df=self.means.shape[1]))

    def assign(self, x: Tensor) -> Tensor:
        """Nearest mode of each sample, or -1 beyond `radius` of all of them."""
        distance, mode = self._distances(x).min(1)
        return torch.where(distance <= self.radius, mode, -1)

    def log_density(self, x: Tensor) -> Tensor:
        """Log density at samples."""
        exponent = -0.5 * (self._distances(x) / self.std).square()
        normaliser = 0.5 * x.shape[1] * math.log(2 * math.pi * self.std**2)
        return torch.logsumexp(exponent + self.weights.to(x.device).log(), 1) - normaliser

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples and their modes."""
        modes = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64, generator=generator)
        return self.means[modes] + self.std * noise, modes

    def _distances(self, x: Tensor) -> Tensor:
        self._check(x)
        # |x|^2 - 2 x.m + |m|^2 cancels where clusters are narrow and far from the origin.
        mode = "donot_use_mm_for_euclid_dist"
        return torch.cdist(x.double(), self.means.to(x.device), compute_mode=mode)
