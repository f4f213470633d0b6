"""A game's Jacobian as a matrix, for small games."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_modules.protocols import Jacobian, Parts, Vector, by_player


class MatrixJacobian:
    """A Jacobian given as a matrix: of a toy in closed form, or of a small game by ``dense``.

    Args:
        matrix: shape (n, n), over the joint parameters, the first player's first.
        sizes: how many of the n belong to each player.
        field: v at the point, shape (n,); zero, an equilibrium, if None.

    Raises:
        ValueError: a matrix of another shape, or with entries that are not finite.
    """

    def __init__(self, matrix: Tensor, sizes: tuple[int, int], field: Tensor | None = None) -> None:
        n = sum(sizes)
        if matrix.shape != (n, n):
            raise ValueError(f"Players of sizes {sizes} need a matrix of shape ({n}, {n}), not {tuple(matrix.shape)}.")
        if not matrix.isfinite().all():
            raise ValueError(f"{int((~matrix.isfinite()).sum())} entries of the matrix are not finite.")
        self.matrix = matrix
        self.sizes = sizes
        self._parts = (slice(0, sizes[0]), slice(sizes[0], n))
        self.field: Vector = by_player(matrix.new_zeros(n) if field is None else field, sizes)

    def rows(self, player: int, w: Parts) -> Tensor:
        block = self.matrix[self._parts[player]]
        products = [block[:, part] @ x for part, x in zip(self._parts, w, strict=True) if x is not None]
        return torch.stack(products).sum(0)

    def halves(self, w: Vector) -> tuple[Tensor, Tensor]:
        first, second = (self.matrix[:, part] @ x for part, x in zip(self._parts, w, strict=True))
        return first, second

    def transposed(self, w: Parts) -> Vector:
        products = [x @ self.matrix[part] for part, x in zip(self._parts, w, strict=True) if x is not None]
        return by_player(torch.stack(products).sum(0), self.sizes)


def times(jacobian: Jacobian, w: Tensor) -> Tensor:
    """J w, for a flat vector over both players."""
    parts = by_player(w, jacobian.sizes)
    return torch.cat([jacobian.rows(player, parts) for player in range(2)])


def dense(jacobian: Jacobian) -> MatrixJacobian:
    """The whole matrix, by one product a column."""
    if isinstance(jacobian, MatrixJacobian):
        return jacobian
    field = torch.cat(jacobian.field)
    units = torch.eye(len(field), dtype=field.dtype, device=field.device)
    columns = [times(jacobian, unit) for unit in units]
    return MatrixJacobian(torch.stack(columns, 1), jacobian.sizes, field)
