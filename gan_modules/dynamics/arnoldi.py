"""Arnoldi's method: leading eigenvalues of a linear map known by its products, each with its residual."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.batch import key

#: the most vectors that are kept: 40 give the leading five eigenvalues of a GAN's Jacobian to the last digits
MAX_VECTORS = 40
#: products that improve the starting vector: the fifth eigenvalue gains one to two digits, at no memory
POWER_STEPS = 5


@dataclass(frozen=True)
class Ritz:
    """Approximate eigenvalues of a map, largest modulus first.

    Attributes:
        values: shape (m,), complex128.
        residuals: ||A y - value y|| for each value's unit vector y, shape (m,), float64: the value is an eigenvalue of
            a map that far from A.
        products: applications of the map.
        basis: orthonormal rows, shape (m, n).
        coordinates: each value's vector in the basis, shape (m, m), columns.
    """

    values: Tensor
    residuals: Tensor
    products: int
    basis: Tensor
    coordinates: Tensor

    def converged(self, tolerance: float) -> Tensor:
        """Which values have a residual of at most ``tolerance`` times the largest modulus: shape (m,), bool."""
        return self.residuals <= tolerance * self.values.abs().max().clamp_min(torch.finfo(torch.float64).tiny)

    def vector(self, index: int) -> Tensor:
        """The unit vector of a value, shape (n,), complex."""
        y = self.coordinates[:, index].to(self.basis.device)
        return torch.complex(self._combined(y.real), self._combined(y.imag))

    def _combined(self, weights: Tensor) -> Tensor:
        return weights.to(self.basis.dtype) @ self.basis


def arnoldi(
    apply: Callable[[Tensor], Tensor],
    like: Tensor,
    vectors: int = MAX_VECTORS,
    *,
    start: Tensor | None = None,
    power_steps: int = 0,
    seed: int = 0,
) -> Ritz:
    """Ritz values of ``apply`` from a Krylov space, orthogonalised twice.

    Memory is ``vectors`` times that of ``like``, on its device.

    Args:
        apply: a real linear map on vectors of shape (n,).
        like: any vector of that shape, for its type and device.
        vectors: dimension of the Krylov space, and products; fewer where the space is invariant before.
        start: a vector that is rich in what is sought; a hundredth of a random one is added, so that nothing is missed.
        power_steps: products that the starting vector takes first: more of the leading eigenvalues in as many vectors.
        seed: of the random vector, which is drawn from a private generator, on every process the same.

    Raises:
        ValueError: fewer than one vector.
        FloatingPointError: a product that is not finite.
    """
    if vectors < 1:
        raise ValueError(f"arnoldi(vectors={vectors}): at least 1 vector.")
    m = min(vectors, len(like))
    first = _start(like, start, seed)
    steps = power_steps if m < len(like) else 0  # a whole space needs no good start
    for _ in range(steps):
        image = _finite(apply(first))
        if not image.any():
            break
        first = image / image.norm()
    space = krylov(apply, first, m)
    used = len(space.basis)
    values, coordinates = torch.linalg.eig(space.projected)
    order = values.abs().argsort(descending=True)
    values, coordinates = values[order], coordinates[:, order]
    residuals = space.rest * coordinates[-1].abs() / torch.linalg.vector_norm(coordinates, dim=0)
    return Ritz(values, residuals, steps + used, space.basis, coordinates)


@dataclass(frozen=True)
class Krylov:
    """A space V of a map A that all but contains its image: A V^T = V^T projected + rest following e_m^T.

    Attributes:
        basis: V, orthonormal rows, shape (m, n).
        projected: V A V^T, shape (m, m), float64, on the CPU.
        rest: 0 where the space is invariant.
        following: a unit vector outside of V, shape (n,).
    """

    basis: Tensor
    projected: Tensor
    rest: float
    following: Tensor


def krylov(apply: Callable[[Tensor], Tensor], first: Tensor, m: int, kept: Krylov | None = None) -> Krylov:
    """The space of ``first``, a unit vector, and its images, of dimension m, or less where it is invariant before.

    With ``kept``, a space of k < m dimensions, it is that one, ``first`` and images of this; ``kept.projected`` is
    (k + 1, k), the last row the products of ``first`` with A V^T, which else is within V.
    """
    k = 0 if kept is None else len(kept.basis)
    basis = first.new_zeros(m, len(first))
    hessenberg = torch.zeros(m + 1, m, dtype=torch.float64)
    if kept is not None:
        basis[:k] = kept.basis
        hessenberg[: k + 1, :k] = kept.projected
    basis[k] = first
    used, image = m, first
    for j in range(k, m):
        image = _finite(apply(basis[j]))
        size = float(image.norm())
        for _ in range(2):  # the second pass restores the orthogonality that rounding took from the first
            overlap = basis[: j + 1] @ image
            image = image - overlap @ basis[: j + 1]
            hessenberg[: j + 1, j] += overlap.cpu().double()
        rest = float(image.norm())
        hessenberg[j + 1, j] = rest
        if rest <= 10 * torch.finfo(first.dtype).eps * size:  # an invariant space: its eigenvalues are exact
            hessenberg[j + 1, j] = 0.0
            used = j + 1
            break
        image = image / rest
        if j + 1 < m:
            basis[j + 1] = image
    return Krylov(basis[:used], hessenberg[:used, :used], float(hessenberg[used, used - 1]), image)


def _start(like: Tensor, given: Tensor | None, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(key("arnoldi", seed))
    random = torch.randn(len(like), generator=generator, dtype=torch.float64).to(like)
    start = random / random.norm()
    if given is not None and given.any():
        start = given / given.norm() + 0.01 * start
    unit: Tensor = start / start.norm()
    return unit


def _finite(image: Tensor) -> Tensor:
    if not image.isfinite().all():
        raise FloatingPointError("A product with the game's Jacobian is not finite: the game is past its numbers.")
    return image
