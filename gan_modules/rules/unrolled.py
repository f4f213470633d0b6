"""Unrolled discriminator: the generator sees a few of the discriminator's next steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.optim import Optimizer

from gan_modules.batch import GameBatch
from gan_modules.dynamics.jacobian import GameJacobian, PlayerLosses
from gan_modules.dynamics.play import OptimizerHandle
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, Game, Jacobian, PlayerOptimizer
from gan_modules.rules.base import Cost, Draw, UpdateRule
from gan_modules.rules.simultaneous import Simultaneous


@dataclass(frozen=True)
class Unrolled(UpdateRule):
    """The generator descends L_G(theta, phi_k(theta)), phi_k after k gradient steps of D (Metz et al., 2017, eq. 5-7).

    Differentiated through the k steps; both players then move at once, D by one step of its optimizer. The unrolled
    steps are plain gradient descent on the same batch; the moves themselves work with any optimizer.

    Args:
        k: unrolled steps, at least 1.
        lr: their learning rate; that of D's optimizer if None.
    """

    k: int = 5
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"Unrolled(k={self.k}): k must be at least 1; without unrolling it is Simultaneous.")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"Unrolled(lr={self.lr}): must be positive, or None for the discriminator's.")

    @property
    def cost(self) -> Cost:
        # the steps themselves, and the way back through them, which costs about as much again as k products
        return Cost(1, self.k + 1, products=self.k, copies=self.k)

    def step(self, game: Game, optimizers: Sequence[PlayerOptimizer], draw: Draw, state: Any) -> Any:
        batch = draw(0)
        unrolled = self.unrolled(game, optimizers[DISCRIMINATOR].rates)
        game.gradient(DISCRIMINATOR, batch)
        game.gradient(GENERATOR, batch, loss=unrolled.unrolled_loss)
        for optimizer in optimizers:
            optimizer.step()
        return state

    def unrolled(self, game: Game, rates: Tensor) -> UnrolledGame:
        """The game in which the generator minimises the unrolled loss."""
        return UnrolledGame(game, self.k, rates if self.lr is None else torch.full_like(rates, self.lr))

    def linearised(
        self, jacobian: Jacobian, optimizers: Sequence[Optimizer], scale: float
    ) -> tuple[UpdateRule, Jacobian]:
        # the unrolled loss takes D's gradient of L_G, which no linearised field knows: it is a game of its own
        if not isinstance(jacobian, GameJacobian):
            raise TypeError(f"{self} needs the losses of the game: pass a GameJacobian, not {type(jacobian).__name__}.")
        rates = OptimizerHandle(jacobian.game, DISCRIMINATOR, optimizers[DISCRIMINATOR]).rates
        return Simultaneous(), GameJacobian(self.unrolled(jacobian.game, scale * rates), jacobian.batch)


class UnrolledGame:
    """A game whose generator minimises L_G(theta, phi_k(theta, phi)); its discriminator's loss is the game's own."""

    def __init__(self, game: Game, k: int, rates: Tensor) -> None:
        self.players = game.players
        self.all_mean = game.all_mean
        self.project = game.project
        self.gradient = game.gradient
        self._game = game
        self._losses = PlayerLosses(game)
        self._names = list(self._losses.trained(DISCRIMINATOR))
        self._k = k
        self._rates = rates

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        return self.unrolled_loss(batch) if player == GENERATOR else self._game.player_loss(player, batch)

    def unrolled_loss(self, batch: GameBatch) -> Tensor:
        """L_G after k steps of D by gradients that are means over processes; buffers are left as they are."""
        parameters = dict(self._losses.named_parameters())
        shapes = [parameters[name].shape for name in self._names]
        buffers = self._losses.buffer_copies()
        phi = torch.cat([parameters[name].reshape(-1) for name in self._names])
        if not phi.requires_grad:  # in training D is frozen here; in a Jacobian it is what is differentiated
            phi = phi.detach().requires_grad_()

        def loss(player: int) -> Tensor:
            parts = torch.split(phi, [shape.numel() for shape in shapes])
            weights = {name: part.view(s) for name, part, s in zip(self._names, parts, shapes, strict=True)}
            value: Tensor = functional_call(self._losses, weights | buffers, (player, batch))
            return value

        for _ in range(self._k):
            (gradient,) = torch.autograd.grad(loss(DISCRIMINATOR), phi, create_graph=True)
            phi = phi - self._rates * self._game.all_mean([gradient])[0]
        return loss(GENERATOR)

    def jacobian(self, batch: GameBatch) -> Jacobian:
        return GameJacobian(self, batch)
