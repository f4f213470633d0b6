"""Lanczos' method: extreme eigenvalues and the spectral density of a symmetric map known by its products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gan_modules.batch import key
from gan_modules.dynamics.arnoldi import MAX_VECTORS, Krylov, krylov
from gan_modules.protocols import Jacobian


@dataclass(frozen=True)
class SymmetricRitz:
    """Approximate eigenvalues of a symmetric map A, ascending; the ends of the spectrum converge first.

    The largest value never exceeds the largest eigenvalue, and the smallest is never below the smallest. An eigenvalue
    of any multiplicity appears once.

    Attributes:
        values: shape (m,), ascending, float64.
        residuals: ||A y - value y|| for each value's unit vector y, shape (m,), float64: an eigenvalue is that near.
        weights: squared components of the start along the vectors, shape (m,), float64, sum 1, less after
            restarts. Without these values and weights are Gauss' quadrature of start^T f(A) start, exact for
            polynomials f of degree up to 2m - 1.
        asymmetry: Frobenius norm of the antisymmetric part of A on the space, over that of A there: rounding, for a map
            that is symmetric. Values are those of the symmetric part.
        products: applications of the map.
        basis: orthonormal rows, shape (m, n); without restarts the first is the start.
        coordinates: each value's vector in the basis, shape (m, m), columns.
    """

    values: Tensor
    residuals: Tensor
    weights: Tensor
    asymmetry: float
    products: int
    basis: Tensor
    coordinates: Tensor

    def converged(self, tolerance: float) -> Tensor:
        """Which values have a residual of at most ``tolerance`` times the largest modulus: shape (m,), bool."""
        return self.residuals <= tolerance * self.values.abs().max().clamp_min(torch.finfo(torch.float64).tiny)

    def vector(self, index: int) -> Tensor:
        """The unit vector of a value, shape (n,)."""
        return self.coordinates[:, index].to(self.basis) @ self.basis


def lanczos(
    apply: Callable[[Tensor], Tensor],
    like: Tensor,
    vectors: int = MAX_VECTORS,
    *,
    start: Tensor | None = None,
    restarts: int = 0,
    seed: int = 0,
) -> SymmetricRitz:
    """Ritz values of a symmetric map from a Krylov space, every vector orthogonalised twice against all before.

    Memory is ``vectors`` times that of ``like``, on its device, half as much more where it restarts. Without full
    orthogonalisation converged values would come again as copies (Paige, 1976).

    Args:
        apply: a symmetric linear map on vectors of shape (n,).
        like: any vector of that shape, for its type and device.
        vectors: dimension of the Krylov space, and products; fewer where the space is invariant before.
        start: where the space starts, shape (n,): only eigenvalues along which it has a component are found. A random
            vector, which has one along all, if None.
        restarts: how often the space is built up again from the vectors of its outer values, a quarter of all at each
            end (Wu and Simon, 2000): ends that converge slowly, in as much memory. Each takes half of ``vectors``
            products.
        seed: of the random vector, which is drawn from a private generator, on every process the same.

    Raises:
        ValueError: fewer than one vector, fewer than four that restart, or a start that is zero.
        FloatingPointError: a product that is not finite.
    """
    if vectors < 1:
        raise ValueError(f"lanczos(vectors={vectors}): at least 1 vector.")
    if restarts and vectors < 4:
        raise ValueError(f"lanczos(vectors={vectors}, restarts={restarts}): at least 4 vectors, to keep some.")
    if start is not None and not start.any():
        raise ValueError("lanczos(start=0): the start must be a direction, or None for a random one.")
    first = _probe(like, seed) if start is None else start / start.norm()
    m = min(vectors, len(like))
    space = krylov(apply, first, m)
    found, products = _ritz(space), len(space.basis)
    for _ in range(restarts):
        if not space.rest:
            break
        space = krylov(apply, space.following, m, _ends(space, found))
        products += len(space.basis) - 2 * (m // 4)
        found = _ritz(space)
    weights = (found.coordinates.T @ (space.basis @ first).cpu().double()).square()
    return replace(found, weights=weights, products=products)


def _ritz(space: Krylov) -> SymmetricRitz:
    symmetric = (space.projected + space.projected.T) / 2
    odd = space.projected - symmetric
    values, coordinates = torch.linalg.eigh(symmetric)
    inside = torch.linalg.vector_norm(odd @ coordinates, dim=0)
    residuals = torch.hypot(inside, space.rest * coordinates[-1].abs())
    asymmetry = float(odd.norm() / space.projected.norm().clamp_min(torch.finfo(torch.float64).tiny))
    return SymmetricRitz(values, residuals, values, asymmetry, 0, space.basis, coordinates)


def _ends(space: Krylov, found: SymmetricRitz) -> Krylov:
    """The vectors of the outer values, a quarter of all at each end, to go on from: A Y = Y values + following b^T."""
    quarter = len(found.values) // 4
    outer = torch.cat([torch.arange(quarter), torch.arange(len(found.values) - quarter, len(found.values))])
    coordinates = found.coordinates[:, outer]
    b = space.rest * coordinates[-1:]
    basis = coordinates.T.to(space.basis) @ space.basis
    return Krylov(basis, torch.cat([found.values[outer].diag(), b]), 0.0, space.following)


def _without_last(found: SymmetricRitz) -> tuple[Tensor, Tensor]:
    """Values and weights of the space without its last vector."""
    projected = found.coordinates * found.values @ found.coordinates.T
    values, coordinates = torch.linalg.eigh(projected[:-1, :-1])
    return values, coordinates[0].square()


@dataclass(frozen=True)
class SpectralDensity:
    """Where the eigenvalues of a symmetric map lie: an estimate of their distribution by a sum of point masses.

    Attributes:
        nodes: shape (k,), ascending, float64.
        weights: of each node, shape (k,), at least 0, sum 1.
    """

    nodes: Tensor
    weights: Tensor

    @classmethod
    def of(cls, probes: Sequence[SymmetricRitz]) -> SpectralDensity:
        """The mean over random starts, each of a space that was built without restarts.

        Of a space that is not invariant the quadratures of m and of m - 1 vectors count half each. Their nodes
        interlace, so that a bulk around 0, which one of them has on both sides of 0 and the other at 0, is neither all
        flat nor all curved: |A| of few nodes is wrong by a factor of two or three with either, and a fifth with both.
        """
        rules = []
        for probe in probes:
            whole = probe.values, probe.weights
            exact = len(probe.values) == 1 or bool(probe.converged(1e-6).all())
            rules += [whole, whole if exact else _without_last(probe)]
        nodes = torch.cat([values for values, _ in rules])
        weights = torch.cat([weights / len(rules) for _, weights in rules])
        order = nodes.argsort()
        return cls(nodes[order], weights[order])

    def moment(self, power: float, *, absolute: bool = False) -> float:
        """The mean of eigenvalue^power over the spectrum, or of its modulus: n times the first is the trace."""
        nodes = self.nodes.abs() if absolute else self.nodes
        return float(self.weights @ nodes**power)

    def share(self, low: float = -float("inf"), high: float = float("inf")) -> float:
        """The share of the eigenvalues in [low, high]; off by at most a node's weight at each end, and by chance."""
        return float(self.weights[(self.nodes >= low) & (self.nodes <= high)].sum())

    def smoothed(self, grid: Tensor, width: float) -> Tensor:
        """The density at the points of ``grid``, shape (g,), each node a normal density of that standard deviation."""
        z = (grid.to(self.nodes)[:, None] - self.nodes) / width
        bumps = torch.exp(-z.square() / 2) / (width * (2 * torch.pi) ** 0.5)
        density: Tensor = bumps @ self.weights
        return density


def spectral_density(
    apply: Callable[[Tensor], Tensor], like: Tensor, vectors: int = MAX_VECTORS, probes: int = 1, *, seed: int = 0
) -> SpectralDensity:
    """The density of the eigenvalues by stochastic Lanczos quadrature (Ubaru, Chen and Saad, 2017, algorithm 1).

    For a random unit vector v, E v^T f(A) v = tr f(A) / n, and Lanczos' values and weights are Gauss' quadrature of
    v^T f(A) v. Moments of degree up to 2 ``vectors`` - 3 are right in expectation; their variance with normal probes is
    about 2 tr f(A)^2 / (n^2 probes). (On networks: Ghorbani, Krishnan and Xiao, 2019.)

    Args:
        apply: a symmetric linear map on vectors of shape (n,).
        like: any vector of that shape, for its type and device.
        vectors: nodes and products of each probe.
        probes: independent random vectors, one after the other: memory is that of one.
        seed: of the vectors; the first is the one that ``lanczos`` draws.

    Raises:
        ValueError: fewer than one vector or probe.
        FloatingPointError: a product that is not finite.
    """
    if probes < 1:
        raise ValueError(f"spectral_density(probes={probes}): at least 1.")
    return SpectralDensity.of([lanczos(apply, like, vectors, start=_probe(like, seed, k)) for k in range(probes)])


def hessian_block(jacobian: Jacobian, player: int) -> Callable[[Tensor], Tensor]:
    """The map w -> H_pp w, the Hessian of the player's own loss in its own parameters, the other at rest.

    A product costs about a gradient and a half. The player's rows of J are those of -H, so H_pp = -J_pp.
    """
    return lambda w: -jacobian.rows(player, (None, w) if player else (w, None))


def _probe(like: Tensor, seed: int, index: int = 0) -> Tensor:
    """A normal random vector of unit length: its direction is uniform."""
    generator = torch.Generator().manual_seed(key("lanczos", seed, index))
    random = torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
    unit: Tensor = random / random.norm()
    return unit
