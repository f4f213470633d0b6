"""A game seen in one Krylov space of its field, cut by player, in which playing a rule costs next to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.dynamics.arnoldi import Ritz, arnoldi
from gan_modules.dynamics.matrix_jacobian import MatrixJacobian
from gan_modules.dynamics.operator import SIZE_EXPONENT, UpdateOperator
from gan_modules.protocols import Parts, Vector, by_player

#: columns of the long vectors that are multiplied in float64 at a time
_COLUMNS = 1 << 16
#: vectors of the parameters' size that are held for each dimension of the space
HELD = 3


class TransposedError(RuntimeError):
    """A rule multiplies with the transposed Jacobian, of which a Krylov space of the Jacobian says little."""


@dataclass(frozen=True)
class SplitRitz(Ritz):
    """Ritz values whose vectors have coordinates in each player's part of a basis.

    Attributes:
        sizes: number of parameters of each player.
        weights: of the basis' rows, for each player's coordinates: shapes (m, p_G) and (m, p_D).
    """

    sizes: tuple[int, int]
    weights: tuple[Tensor, Tensor]

    def _combined(self, weights: Tensor) -> Tensor:
        parts = by_player(weights, (self.weights[0].shape[1], self.weights[1].shape[1]))
        columns = torch.split(self.basis, list(self.sizes), 1)
        rows = [(own.to(part) @ part).to(self.basis) for own, part in zip(self.weights, parts, strict=True)]
        return torch.cat([row @ part for row, part in zip(rows, columns, strict=True)])


class Projection:
    """The preconditioned field of an update, rate x J, in the space of (g, 0) and (0, d) for (g, d) in a Krylov space.

    A rule that moves one player after the other, or from where the other will be, stays in that space to the order
    that the Krylov space itself is invariant, for every learning rate alike: so one space serves all of them. Built by
    one product (of each player's half) a vector; it holds three vectors of the parameters' size for each.

    Args:
        operator: the update.
        vectors: dimension of the Krylov space.

    Raises:
        TransposedError: the rule multiplies with J^T.
    """

    def __init__(self, operator: UpdateOperator, vectors: int) -> None:
        self._operator = operator
        self._kind = [r.of_exponent() for r in operator.recurrences]
        _try(
            operator.on(
                _Leaking(torch.eye(2, dtype=torch.float64), (1, 1), [torch.zeros(1, 2, dtype=torch.float64)] * 2),
                self._kind,
            )
        )
        jacobian = operator.jacobian
        sizes = jacobian.sizes
        flow, decay, shrinkage = (
            torch.cat([getattr(r, name) for r in operator.recurrences]) for name in ("flow", "decay", "shrinkage")
        )
        images: list[tuple[Tensor, Tensor]] = []

        def apply(w: Tensor) -> Tensor:
            halves = []
            for player, image in enumerate(jacobian.halves(by_player(w, sizes))):
                own = torch.zeros_like(w)
                own_part, part = by_player(own, sizes)[player], by_player(w, sizes)[player]
                own_part.copy_(part)
                halves.append(flow * (image - decay * own) - shrinkage * own)
            images.append((halves[0], halves[1]))
            return halves[0] + halves[1]

        like = torch.cat(jacobian.field)
        #: eigenvalues of rate x Jacobian
        self.exponents = arnoldi(apply, like, vectors)
        basis = self.exponents.basis
        rows = [basis, torch.stack([first for first, _ in images]), torch.stack([second for _, second in images])]
        images.clear()
        grams = _grams(rows, sizes)
        m = len(basis)
        self._weights = tuple(_orthonormal(gram[:m, :m], torch.finfo(like.dtype).eps) for gram in grams)
        self.sizes = self._weights[0].shape[1], self._weights[1].shape[1]
        lift = torch.block_diag(*self._weights)  # type: ignore[no-untyped-call]
        own = [w.T @ gram[:m, m:] @ lift for w, gram in zip(self._weights, grams, strict=True)]
        leaks = [_root(lift.T @ gram[m:, m:] @ lift - part.T @ part) for part, gram in zip(own, grams, strict=True)]
        self.jacobian = _Leaking(torch.cat(own), self.sizes, leaks)
        self._basis, self._sizes = basis, sizes

    def displacements(self, scale: float) -> Ritz:
        """Eigenvalues of what an update at ``scale`` times the learning rates adds to a state, largest modulus first.

        Residuals are sums over the gradients that the update takes of what leaves the space, to first order in it.
        """
        operator = self._operator.on(self.jacobian, self._kind).scaled(scale)
        units = torch.eye(operator.size, dtype=torch.float64)
        records: list[Tensor] = []
        self.jacobian.records = records
        columns, leaks = [], []
        for unit in units:
            columns.append(operator(unit) - unit)
            leaks.append(torch.stack(records))
            records.clear()
        values, vectors = torch.linalg.eig(torch.stack(columns, 1))
        order = values.abs().argsort(descending=True)
        values, vectors = values[order], vectors[:, order]
        # the operator plays a unit vector at half of two to that power
        leak = torch.stack(leaks, -1).to(vectors.dtype) * (scale * 2.0 ** (1 - SIZE_EXPONENT))
        by_gradient = torch.linalg.vector_norm(leak @ vectors, dim=2)  # of each gradient, player and value
        residuals = torch.linalg.vector_norm(by_gradient.sum(0), dim=0)
        return SplitRitz(
            values, residuals, self.exponents.products, self._basis, vectors[: sum(self.sizes)], self._sizes,
            (self._weights[0], self._weights[1]),
        )  # fmt: skip


class _Leaking(MatrixJacobian):
    """The game in the space, which takes note of what each of a rule's gradients has outside of it."""

    def __init__(self, matrix: Tensor, sizes: tuple[int, int], leaks: Sequence[Tensor]) -> None:
        super().__init__(matrix, sizes)
        self._leaks = leaks
        self.records: list[Tensor] = []

    def rows(self, player: int, w: Parts) -> Tensor:
        whole = torch.cat([torch.zeros(n) if x is None else x for n, x in zip(self.sizes, w, strict=True)])
        leak = torch.zeros(2, len(self._leaks[0]), dtype=torch.float64)
        leak[player] = self._leaks[player] @ whole.double()
        self.records.append(leak)
        return super().rows(player, w)

    def transposed(self, w: Parts) -> Vector:
        raise TransposedError


def _try(operator: UpdateOperator) -> None:
    """Play the update once, on a small game, before anything is spent on the large one."""
    operator(torch.ones(operator.size, dtype=torch.float64))


def _grams(rows: Sequence[Tensor], sizes: tuple[int, int]) -> list[Tensor]:
    """Scalar products of all rows over each player's columns, in float64: shapes (rows, rows)."""
    grams = []
    for part in by_player(torch.arange(sum(sizes)), sizes):
        count = sum(map(len, rows))
        gram = torch.zeros(count, count, dtype=torch.float64)
        for columns in torch.split(part, _COLUMNS):
            start, stop = int(columns[0]), int(columns[-1]) + 1
            block = torch.cat([row[:, start:stop] for row in rows]).double()
            gram += (block @ block.T).cpu()
        grams.append(gram)
    return grams


def _orthonormal(gram: Tensor, eps: float) -> Tensor:
    """Weights of vectors with that Gram matrix, shape (m, rank), whose combinations are orthonormal."""
    values, vectors = torch.linalg.eigh(gram)
    kept = values > 100 * eps * values.max()
    weights: Tensor = vectors[:, kept] / values[kept].sqrt()
    return weights


def _root(square: Tensor) -> Tensor:
    """R with R^T R the positive part of a symmetric matrix."""
    values, vectors = torch.linalg.eigh(square)
    root: Tensor = values.clamp_min(0).sqrt()[:, None] * vectors.T
    return root
