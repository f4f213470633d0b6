"""A game with quadratic losses and any given Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gan_modules.dynamics import MatrixJacobian
from gan_modules.toy_game import ToyGame, unit_start


class LinearQuadraticGame(ToyGame):
    """v(x) = J x, from the losses L_p = -x_p^T J_pp x_p / 2 - x_p^T J_pq x_q of the players p.

    Every game near an equilibrium, up to terms of third order. Blocks J_pp must be symmetric: they are Hessians.

    Args:
        jacobian: J, shape (n, n).
        first_size: how many of the n coordinates are the first player's.
        start: where the players start; a random unit vector, by the seed, if None.
        kwargs: arguments of GameModule.

    Raises:
        ValueError: a matrix that is not square or not finite, blocks that are not symmetric, a player without
            coordinates.
    """

    matrix: Tensor

    def __init__(
        self,
        jacobian: Sequence[Sequence[float]] | Tensor,
        first_size: int,
        start: Sequence[float] | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        matrix = torch.as_tensor(jacobian, dtype=torch.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"jacobian has shape {tuple(matrix.shape)}: it must be square.")
        n = len(matrix)
        if not 0 < first_size < n:
            raise ValueError(f"first_size={first_size}: both players need coordinates, of {n} in all.")
        sizes = (first_size, n - first_size)
        start = unit_start(n, kwargs.get("seed", 0)) if start is None else start
        super().__init__(start, sizes, **kwargs)
        self._jacobian = MatrixJacobian(matrix, sizes)
        a, b = matrix[:first_size, :first_size], matrix[first_size:, first_size:]
        for name, block in (("first", a), ("second", b)):
            if not torch.allclose(block, block.T):
                raise ValueError(f"The block of the {name} player is not symmetric, as the Hessian of a loss is.")
        self.register_buffer("matrix", matrix, persistent=False)

    def loss(self, player: int, u: Tensor, v: Tensor) -> Tensor:
        own, other = (v, u) if player else (u, v)
        n = len(u)
        rows = self.matrix[n:] if player else self.matrix[:n]
        hessian, coupling = (rows[:, n:], rows[:, :n]) if player else (rows[:, :n], rows[:, n:])
        return -0.5 * own @ hessian @ own - own @ coupling @ other

    def equilibrium(self) -> Tensor:
        return torch.zeros(len(self.matrix), dtype=torch.float64)

    def closed_form_jacobian(self) -> MatrixJacobian:
        return self._jacobian
