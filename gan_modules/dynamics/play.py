"""Moving the players of a game: the handle that rules move them by, and a loop that needs no Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.dynamics.operator import Rule
from gan_modules.protocols import Game

OptimizerMaker = Callable[[Any], Optimizer]


class OptimizerHandle:
    """Moves a player of a game by a torch optimizer; see PlayerOptimizer for the contract."""

    def __init__(self, game: Game, player: int, optimizer: Optimizer) -> None:
        self.game = game
        self.player = player
        self.optimizer = optimizer

    @cached_property
    def parameters(self) -> list[Tensor]:
        return [p for p in self.game.players[self.player].parameters() if p.requires_grad]

    @property
    def rates(self) -> Tensor:
        first, *others = self.optimizer.param_groups
        if all(group["lr"] == first["lr"] for group in others):
            return torch.as_tensor(first["lr"], dtype=self.parameters[0].dtype, device=self.parameters[0].device)
        rate = {id(p): group["lr"] for group in self.optimizer.param_groups for p in group["params"]}
        return torch.cat([torch.full_like(p, float(rate[id(p)])).reshape(-1) for p in self.parameters])

    @property
    def gradient(self) -> Tensor:
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        return torch.cat([g.reshape(-1) for g in gradients])

    @gradient.setter
    def gradient(self, value: Tensor) -> None:
        for parameter, part in zip(self.parameters, self._split(value), strict=True):
            parameter.grad = part.to(parameter.dtype, copy=True)

    def position(self) -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in self.parameters])

    def move_to(self, position: Tensor) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self._split(position))
        self.game.project(self.player)

    def step(self) -> None:
        self._apply()
        self.game.project(self.player)

    def _apply(self) -> None:
        self.optimizer.step()

    def _split(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat, [p.numel() for p in self.parameters])
        return [part.view_as(p) for part, p in zip(parts, self.parameters, strict=True)]


class Play:
    """A game played by a rule, with torch optimizers and no Trainer: for toys, studies, and a look at an update.

    Args:
        game: what is played; its own parameters move.
        rule: how.
        optimizers: make each player's optimizer from its parameters, or one learning rate for gradient descent.
        batch: ``batch(k)`` is the k-th draw of the whole play; one empty-handed batch for a game without data if None.
    """

    def __init__(
        self,
        game: Game,
        rule: Any,
        optimizers: tuple[OptimizerMaker, OptimizerMaker] | float,
        batch: Callable[[int], GameBatch] | None = None,
    ) -> None:
        self.game = game
        self.rule: Rule = rule
        makers = optimizers if isinstance(optimizers, tuple) else (gradient_descent(optimizers),) * 2
        players: tuple[nn.Module, ...] = game.players
        if len(players) != 2:
            raise TypeError(f"{type(game).__name__} has {len(players)} players: a game has two.")
        made = [
            make([p for p in player.parameters() if p.requires_grad])
            for make, player in zip(makers, players, strict=True)
        ]
        check = getattr(rule, "check", None)
        if check is not None:
            check(made)
        self.handles = [OptimizerHandle(game, player, optimizer) for player, optimizer in enumerate(made)]
        self.iteration = 0
        self._batch = batch if batch is not None else lambda k: no_data(self.handles[0].position())
        self.memory = rule.init(game, self.handles)

    @property
    def optimizers(self) -> list[Optimizer]:
        """Both players' torch optimizers."""
        return [handle.optimizer for handle in self.handles]

    @property
    def position(self) -> Tensor:
        """Both players' parameters, flat, the first player's first; assigning moves the players."""
        return torch.cat([handle.position() for handle in self.handles])

    @position.setter
    def position(self, value: Tensor) -> None:
        start = 0
        for handle in self.handles:
            size = sum(p.numel() for p in handle.parameters)
            handle.move_to(value[start : start + size])
            start += size

    def step(self) -> None:
        """One iteration of the rule."""
        first = self.iteration * getattr(self.rule, "draws", 1)
        self.memory = self.rule.step(self.game, self.handles, lambda k: self._batch(first + k), self.memory)
        self.iteration += 1

    def trajectory(self, iterations: int) -> Iterator[Tensor]:
        """The position now and after each of ``iterations`` iterations."""
        yield self.position
        for _ in range(iterations):
            self.step()
            yield self.position


def gradient_descent(lr: float) -> OptimizerMaker:
    """Plain gradient descent at that rate."""

    def make(parameters: Any) -> Optimizer:
        return SGD(parameters, lr=lr)

    return make


def no_data(like: Tensor) -> GameBatch:
    """The batch of a game that needs no data: one row without numbers."""
    empty = torch.zeros(1, 0, dtype=like.dtype, device=like.device)
    return GameBatch(empty, empty, RandomRows(0, 0, 0, 0, 1, 1, like.device))
