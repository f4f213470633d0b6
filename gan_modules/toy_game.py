"""What a toy game knows about itself, and the base of those whose players are vectors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.base import GameModule
from gan_modules.batch import GameBatch
from gan_modules.dynamics import MatrixJacobian, no_data
from gan_modules.record import logs_at
from gan_modules.rules import Simultaneous, UpdateRule


class ClosedForms(ABC):
    """A game whose equilibrium, Jacobian and stability limit are known on paper: what measurements are tested against.

    Vectors are over both players' parameters, the first player's first, in float64.
    """

    @abstractmethod
    def equilibrium(self) -> Tensor:
        """The equilibrium at which the closed forms hold, shape (n,)."""

    @abstractmethod
    def closed_form_jacobian(self) -> MatrixJacobian:
        """The Jacobian of the update field there."""

    def exponents(self) -> Tensor:
        """Eigenvalues of that Jacobian, shape (n,), complex."""
        values: Tensor = torch.linalg.eigvals(self.closed_form_jacobian().matrix)
        return values

    def stability_limit(self, rule: UpdateRule) -> float:
        """The learning rate of gradient descent up to which the rule is stable; 0 where it never is.

        Simultaneous: min over eigenvalues of -2 Re(l) / |l|^2, for |1 + h l| < 1 is h |l|^2 < -2 Re(l).

        Raises:
            NotImplementedError: a rule for which no closed form is known here.
        """
        if rule != Simultaneous():
            raise NotImplementedError(f"{type(self).__name__} has no closed form for {rule}.")
        moving = [
            complex(value) for value in self.exponents() if abs(value) > 1e-12
        ]  # null directions stand still at any rate
        return max(0.0, min((-2 * x.real / abs(x) ** 2 for x in moving), default=math.inf))


class Point(nn.Module):
    """A player that is a vector of numbers, in float64."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.x = nn.Parameter(start.detach().clone().to(torch.float64))

    def forward(self) -> Tensor:
        return self.x


class ToyGame(ClosedForms, GameModule):
    """A game between two vectors that needs no data; any batch serves.

    Logged every ``log_every_n_steps`` iterations beside losses and gradient norms: ``distance`` to the equilibrium.

    Args:
        start: where the players start, the first player's numbers first.
        sizes: how many numbers belong to each.
        kwargs: arguments of GameModule.
    """

    def __init__(self, start: Sequence[float] | Tensor, sizes: tuple[int, int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        point = torch.as_tensor(start, dtype=torch.float64).reshape(-1)
        if len(point) != sum(sizes) or not point.isfinite().all():
            raise ValueError(
                f"start={start}: must be {sum(sizes)} finite numbers, {sizes[0]} and {sizes[1]} of each player."
            )
        self.first = Point(point[: sizes[0]])
        self.second = Point(point[sizes[0] :])

    @property
    def players(self) -> tuple[nn.Module, nn.Module]:
        return self.first, self.second

    @property
    def position(self) -> Tensor:
        """Both players' numbers, shape (n,), detached."""
        return torch.cat([self.first.x.detach(), self.second.x.detach()])

    @abstractmethod
    def loss(self, player: int, u: Tensor, v: Tensor) -> Tensor:
        """What ``player`` minimises, from the first player's vector u and the second's v."""

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        return self.loss(player, self.first.x, self.second.x)

    def batch(self) -> GameBatch:
        """A batch to ask the game for its Jacobian with: it needs no data."""
        return no_data(self.first.x.detach())

    def after_iteration(self) -> None:
        if logs_at(self.trainer, self.trainer.global_step):  # an equilibrium may take a decomposition
            self.record("distance", (self.position - self.equilibrium().to(self.device)).norm())


def unit_start(n: int, seed: int) -> Tensor:
    """A random unit vector, from a private generator."""
    start = torch.randn(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    unit: Tensor = start / start.norm()
    return unit
