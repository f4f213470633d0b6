"""A game linearised at a point: rules play it as they play any game, which gives the linear map of their update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.dynamics.matrix_jacobian import times
from gan_modules.protocols import Jacobian, Vector, by_player


class Displacement(nn.Module):
    """A player of a linearised game: how far it is from the point."""

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros_like(like), requires_grad=False)


class LinearGame:
    """The game whose players are displacements w from a point and whose update field is J w.

    Its Jacobian is J everywhere. It has no losses: only the field of a game enters its linearisation.
    """

    def __init__(self, jacobian: Jacobian) -> None:
        self._jacobian = jacobian
        first, second = jacobian.field
        self.players = (Displacement(first), Displacement(second))

    def _w(self) -> Vector:
        return self.players[0].x, self.players[1].x

    def player_loss(self, player: int, batch: Any) -> Tensor:
        raise NotImplementedError("A linearised game has a field and no losses; a rule that needs them can't play it.")

    def gradient(self, player: int, batch: Any, *, shared: bool = False) -> None:
        self.players[player].x.grad = -self._jacobian.rows(player, self._w())

    def jacobian(self, batch: Any) -> Jacobian:
        return _AtDisplacement(self._jacobian, self._w())

    def all_mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return list(tensors)

    def project(self, player: int) -> None:
        """No constraint: it is taken not to bind near the point."""


class _AtDisplacement:
    """J, with the field J w of the present displacement."""

    def __init__(self, jacobian: Jacobian, w: Vector) -> None:
        self.sizes = jacobian.sizes
        self.rows = jacobian.rows
        self.halves = jacobian.halves
        self.transposed = jacobian.transposed
        self.field: Vector = by_player(times(jacobian, torch.cat(w)), jacobian.sizes)
