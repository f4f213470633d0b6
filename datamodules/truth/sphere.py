"""Modes on a sphere of any dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from datamodules.checks import require_positive
from datamodules.truth.manifold import Feet, ManifoldTruth


class Sphere(ManifoldTruth):
    """The sphere of that radius about the origin of R^d, of dimension d - 1.

    Coordinates are unit vectors, (N, d). The geodesic distance is radius times the angle; a straight line is at least
    2 / pi of it, so unlike a hairpin a sphere misleads a straight ruler by a bounded factor.

    Modes are normal in the tangent space rather than von Mises-Fisher distributions, which they are nearly where
    tangential_std is small beside the radius (concentration (radius / tangential_std)^2): so their width is a length as
    on the other manifolds, and the mass near a mode is known exactly.

    Args:
        centres: directions of the modes, (K, d), of any length but 0; no two the same.
        radius: of the sphere, in units of the data; also its reach.
        tangential_std: of a mode by tangent coordinate, as a length along the sphere.
        normal_std: of the distance from the sphere.
        weights: (K,), equal where None.

    Raises:
        ValueError: centres that are not (K, d) with d >= 2, not finite, 0 or of one direction; a number that is not
            positive; those of ManifoldTruth.
    """

    def __init__(
        self,
        centres: Tensor,
        radius: float,
        tangential_std: float,
        normal_std: float,
        weights: Tensor | None = None,
    ) -> None:
        from scipy.special import chdtr  # slow to import, rarely needed

        require_positive(radius=radius, tangential_std=tangential_std, normal_std=normal_std)
        if centres.ndim != 2 or centres.shape[1] < 2 or not (centres.isfinite().all() and centres.any(1).all()):
            raise ValueError(f"centres must be finite, not 0 and of shape (K, d >= 2), got {centres.tolist()}")
        directions = normalize(centres.double(), dim=1)
        apart = torch.pdist(directions)
        if len(apart) and apart.min() < 1e-6:
            raise ValueError(f"two of the {len(centres)} centres have one direction; drop the duplicates")
        self.reach = float(radius)
        modes, dimension = centres.shape
        half = math.pi * radius  # to the antipode
        super().__init__(
            directions,
            dimension=dimension,
            intrinsic_dimension=dimension - 1,
            room=torch.full((modes,), half, dtype=torch.float64),
            kept=torch.full((modes,), chdtr(dimension - 1, (half / tangential_std) ** 2), dtype=torch.float64),
            tangential_std=tangential_std,
            normal_std=normal_std,
            weights=weights,
        )

    def embed(self, coordinates: Tensor) -> Tensor:
        return self.reach * coordinates

    def feet(self, x: Tensor) -> Feet:
        length = x.norm(dim=1, keepdim=True)
        pole = torch.zeros_like(x)
        pole[:, 0] = 1.0  # every point is nearest to the centre
        near = torch.where(length == 0, pole, x / length)
        # A line through the centre leaves the sphere on both sides; volume shrinks with it alike.
        jacobian = (length / self.reach) ** self.intrinsic_dimension
        standing = torch.ones(len(x), 2, dtype=torch.bool, device=x.device)
        return Feet(torch.stack([near, -near], 1), standing, jacobian.expand(-1, 2))

    def tangents(self, coordinates: Tensor) -> Tensor:
        axes = torch.eye(self.dimension, dtype=coordinates.dtype, device=coordinates.device)[1:]
        return _reflected(coordinates[:, None], axes)

    def normals(self, coordinates: Tensor) -> Tensor:
        return coordinates[:, None]

    def curvature(self, coordinates: Tensor) -> Tensor:
        return torch.full_like(coordinates[:, 0], 1 / self.reach)

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        # arccos loses half the digits near 0 and pi
        return 2 * self.reach * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))

    def _walk(self, start: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        turned = v.norm(dim=1, keepdim=True) / self.reach
        # sum of v_i tangent_i, without the tangents' (N, m, d) numbers
        heading = _reflected(start, pad(normalize(v, dim=1), (1, 0)))
        return turned.cos() * start + turned.sin() * heading, (turned <= math.pi).squeeze(1)

    def _log_spread(self, distance: Tensor) -> Tensor:
        shrink = torch.sinc(distance / (math.pi * self.reach))  # sin(angle) / angle
        return (self.intrinsic_dimension - 1) * shrink.clamp(min=1e-300).log()


def _reflected(points: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (..., d) reflected as the first axis is to unit vectors (..., d) or their antipodes.

    It takes the other axes to the points' tangent spaces.
    """
    mirror = points.clone()
    mirror[..., 0] += torch.where(points[..., 0] < 0, -1.0, 1.0)
    share = 2 * (vectors * mirror).sum(-1, keepdim=True) / mirror.square().sum(-1, keepdim=True)
    return vectors - share * mirror
