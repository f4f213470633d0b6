"""Modes on a curved manifold, with noise normal to it."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.truth.base import Truth, most_likely, normalised_weights
from datamodules.truth.gaussian_mixture import HIGH_QUALITY_MASS, chi_quantile, normal_tail

_BLOCK = 2**21  # numbers in the largest temporary, of which there are a few: 16 MiB
_FEET = 8  # of a sample, at most


@dataclass(frozen=True)
class Feet:
    """Candidates, F a sample, for the point of a manifold nearest to it.

    Among them are the nearest point and every point on whose normal space the sample stands, each once.

    Attributes:
        coordinates: of the points, (N, F, c).
        standing: whether the sample is in the normal space there, (N, F) bool; not so at an edge of the manifold.
        jacobian: volume around the sample per volume of manifold and normal space, |det(I - S)| with S the shape
            operator along the sample's offset, (N, F); 0 at a focal point.
    """

    coordinates: Tensor
    standing: Tensor
    jacobian: Tensor


class ManifoldTruth(Truth):
    """Modes on a manifold of dimension m in R^d, with noise normal to it: known inside its reach and outside.

    A sample of mode k starts from v ~ N(0, tangential_std^2 I) in the tangent space at the mode's centre, walks the
    geodesic that leaves along v for a length of |v| (the exponential map), and steps off the manifold by
    N(0, normal_std^2 I) in the normal space of the point where it arrives. v is drawn again where the geodesic would
    leave the manifold or stop being the shortest one. So the geodesic distance to the centre is |v|, in any geometry.

    The density at x sums over all points on whose normal space x stands, each by the change of variables (Weyl, "On the
    volume of tubes", 1939): it is exact everywhere but at focal points, where it is infinite. Noise that steps beyond
    the `reach` can land nearer to another part of the manifold. `log_density` counts it; `assign`, `project` and
    `geodesic` follow the nearest point, and `high_quality` leaves out such noise of samples within `radius` of their
    mode, whose mass for codimension 1 is at most 2 Phi(-reach / normal_std).

    Coordinates (N, c) name points of the manifold; what they are is the subclass's choice. A subclass sets `reach` and
    implements `embed`, `feet`, `tangents`, `normals`, `curvature`, `_distance`, `_walk` and, where the manifold is not
    flat, `_log_spread`.

    Args:
        centres: of the modes, in coordinates, (K, c).
        dimension: d.
        intrinsic_dimension: m.
        room: geodesic distance from each centre up to which every geodesic is shortest and inside the manifold, (K,).
        kept: mass of N(0, tangential_std^2 I) that is not drawn again, by mode, (K,).
        tangential_std: of v, by coordinate, in units of the data.
        normal_std: of every normal coordinate.
        weights: (K,), positive, normalised here; equal where None.

    Raises:
        ValueError: a standard deviation that is not positive; weights not positive or not (K,); a mode of which the
            part that `assign` accepts does not fit on the manifold.
    """

    reach: float

    def __init__(
        self,
        centres: Tensor,
        *,
        dimension: int,
        intrinsic_dimension: int,
        room: Tensor,
        kept: Tensor,
        tangential_std: float,
        normal_std: float,
        weights: Tensor | None = None,
    ) -> None:
        require_positive(tangential_std=tangential_std, normal_std=normal_std)
        self.centres, self.dimension, self.intrinsic_dimension = centres.double(), dimension, intrinsic_dimension
        self.tangential_std, self.normal_std = float(tangential_std), float(normal_std)
        self.weights = normalised_weights(weights, len(centres))
        least, needed = int(room.argmin()), self.radius * self.tangential_std
        if not needed <= room[least]:
            raise ValueError(
                f"tangential_std = {tangential_std:g} needs {needed:.4g} around each mode, and mode {least} has "
                f"{float(room[least]):.4g}: take a smaller tangential_std, fewer modes or a larger manifold"
            )
        self._kept = kept.double()

    # --- the manifold -------------------------------------------------------------------------------------------------

    @abstractmethod
    def embed(self, coordinates: Tensor) -> Tensor:
        """Points of the manifold in data space: coordinates (..., c) to (..., d)."""

    @abstractmethod
    def feet(self, x: Tensor) -> Feet:
        """Candidates for the point nearest to each sample of x, (N, d) float64."""

    @abstractmethod
    def tangents(self, coordinates: Tensor) -> Tensor:
        """An orthonormal basis of the tangent space at each point, (N, m, d)."""

    @abstractmethod
    def normals(self, coordinates: Tensor) -> Tensor:
        """An orthonormal basis of the normal space at each point, (N, d - m, d)."""

    @abstractmethod
    def curvature(self, coordinates: Tensor) -> Tensor:
        """Largest principal curvature at each point, (N,), in 1 / units of the data."""

    @abstractmethod
    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Geodesic distance between coordinates (..., c), which broadcast."""

    @abstractmethod
    def _walk(self, start: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Where geodesics from coordinates (N, c) along tangent vectors (N, m) arrive, in coordinates (N, c).

        And whether they are shortest and inside the manifold, (N,) bool.
        """

    def _log_spread(self, distance: Tensor) -> Tensor:
        """Log of the manifold's volume per volume of the centre's tangent space, at that geodesic distance."""
        return torch.zeros_like(distance)

    # --- what follows from it -----------------------------------------------------------------------------------------

    @property
    def means(self) -> Tensor:
        """Centres of the modes in data space, (K, d)."""
        return self.embed(self.centres)

    @property
    def radius(self) -> float:
        """How far a sample of a mode may be, in standard deviations: what holds 98.89 % of a Gaussian in d dimensions.

        The rule of GaussianMixture, for |(v / tangential_std, offset / normal_std)|, which is chi distributed with d
        degrees of freedom but for what is drawn again; 3 in the plane.
        """
        return chi_quantile(self.dimension)

    @cached_property
    def high_quality(self) -> float:  # type: ignore[override]
        """Mass that `assign` gives to modes.

        HIGH_QUALITY_MASS / kept from each mode's own neighbourhood, and what of its tail falls into those of others: by
        a simulation of the tail alone, with a standard error below 1e-4.
        """
        n, generator = 8192, keyed_generator("high quality")
        modes = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = normal_tail(n, self.dimension, generator)
        v, offset = noise[:, : self.intrinsic_dimension], noise[:, self.intrinsic_dimension :]
        coordinates, inside = self._walk(self.centres[modes], self.tangential_std * v)
        found = inside & (self.assign(self._leave(coordinates, self.normal_std * offset)) >= 0)
        own = float((self.weights / self._kept).sum()) * HIGH_QUALITY_MASS
        return own + (1 - HIGH_QUALITY_MASS) * float((found / self._kept[modes]).mean())

    def locate(self, x: Tensor) -> Tensor:
        """Coordinates of the point nearest to each sample, (N, c)."""
        return self._nearest(x)[0]

    def project(self, x: Tensor) -> Tensor:
        """The point of the manifold nearest to each sample of (N, d), (N, d) float64; unique within `reach`.

        Raises:
            ValueError: samples not of shape (N, d).
        """
        return self.embed(self.locate(x))

    def geodesic(self, x: Tensor, y: Tensor) -> Tensor:
        """Distance along the manifold between the projections of x and y, (..., d) each, which broadcast."""
        located = (self.locate(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], -1) for z in (x, y))
        return self._distance(*located)

    def assign(self, x: Tensor) -> Tensor:
        """Mode of each sample: of those within `radius`, the one most likely to have produced it; -1 without any.

        The rule of GaussianMixture, by geodesic distance of the projection, the normal offset included in `radius`. For
        equal weights on a flat manifold it is the nearest mode.
        """
        return self._by_block(x, self._rows, self._assign)

    def _assign(self, x: Tensor) -> Tensor:
        coordinates, offset = self._nearest(x)
        distance = self._distance(coordinates[:, None], self.centres.to(x.device))
        score = torch.hypot(distance / self.tangential_std, offset[:, None] / self.normal_std)
        return most_likely(self._log_joint(distance), score <= self.radius)

    def log_density(self, x: Tensor) -> Tensor:
        """Log density at samples; -inf where no point's normal space holds the sample."""
        return self._by_block(x, self._rows, self._log_density)

    def _log_density(self, x: Tensor) -> Tensor:
        feet = self.feet(x)
        offset = (x[:, None] - self.embed(feet.coordinates)).norm(dim=-1)
        normal = _log_normal(offset, self.normal_std, self.dimension - self.intrinsic_dimension)
        distance = self._distance(feet.coordinates[:, :, None], self.centres.to(x.device))
        along = torch.logsumexp(self._log_joint(distance), -1)
        terms = along + normal - feet.jacobian.log()
        return torch.logsumexp(terms.where(feet.standing, terms.new_tensor(-math.inf)), 1)

    def _log_joint(self, distance: Tensor) -> Tensor:
        """Log of every mode's weight and density on the manifold, from geodesic distances (..., K) to the centres."""
        tangential = _log_normal(distance, self.tangential_std, self.intrinsic_dimension) - self._log_spread(distance)
        return tangential + (self.weights / self._kept).log().to(distance.device)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Draw samples and their modes."""
        modes = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        coordinates = torch.empty(n, self.centres.shape[1], dtype=torch.float64)
        missing = torch.arange(n)
        while len(missing):
            v = self._noise(len(missing), self.intrinsic_dimension, self.tangential_std, generator)
            arrived, inside = self._walk(self.centres[modes[missing]], v)
            coordinates[missing[inside]] = arrived[inside]
            missing = missing[~inside]
        offset = self._noise(n, self.dimension - self.intrinsic_dimension, self.normal_std, generator)
        return self._leave(coordinates, offset), modes

    def _leave(self, coordinates: Tensor, offset: Tensor) -> Tensor:
        """Points off the manifold by normal coordinates (N, d - m), (N, d)."""
        return self.embed(coordinates) + torch.einsum("nk,nkd->nd", offset, self.normals(coordinates))

    @property
    def _rows(self) -> int:
        """Samples looked at at once, so that coordinates' differences (n, F, K, c) stay small."""
        return max(1, _BLOCK // (_FEET * self.centres.numel()))

    def _nearest(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of the nearest point, (N, c), and the distance to it, (N,)."""
        self._check(x)
        x = x.double()
        coordinates = self.feet(x).coordinates
        offset, best = (x[:, None] - self.embed(coordinates)).norm(dim=-1).min(1)
        return coordinates[torch.arange(len(x), device=x.device), best], offset

    @staticmethod
    def _noise(n: int, dimension: int, std: float, generator: torch.Generator | None) -> Tensor:
        return std * torch.randn(n, dimension, dtype=torch.float64, generator=generator)


def _log_normal(distance: Tensor, std: float, dimension: int) -> Tensor:
    """Log density of N(0, std^2 I) at that distance from its mean."""
    return -0.5 * (distance / std).square() - 0.5 * dimension * math.log(2 * math.pi * std**2)
