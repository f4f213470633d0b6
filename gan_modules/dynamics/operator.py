"""The linear map of one period of an update rule, near an equilibrium of its game."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from gan_modules.dynamics.linear_game import LinearGame
from gan_modules.dynamics.linear_optimizer import LinearOptimizer, Recurrence, recurrence
from gan_modules.protocols import Jacobian

#: vectors are brought to this size before a rule plays them: an exact power of two, small enough that a rule which is
#: linear only in the limit (a sign that depends on the state) is linear
SIZE_EXPONENT = -24


class Rule(Protocol):
    """What is needed of an update rule here."""

    @property
    def period(self) -> int: ...

    def init(self, game: Any, optimizers: Sequence[Any]) -> Any: ...

    def step(self, game: Any, optimizers: Sequence[Any], draw: Any, state: Any) -> Any: ...


class UpdateOperator:
    """state -> state after one period of a rule, linearised: the rule's own ``step``, played on the linearised game.

    The state is (x, optimizers' momenta, the rule's tensors), flat: x first, the generator's before the
    discriminator's. Counters of the rule start anew with the period.

    Args:
        rule: whose ``step`` it is.
        jacobian: of the game, at an equilibrium or what is taken for one; all draws of an iteration share it.
        optimizers: the two players' torch optimizers.
        recurrences: what is taken for the optimizers' linearisation; their own if None.
        scale: factor on both learning rates.
    """

    def __init__(
        self,
        rule: Rule,
        jacobian: Jacobian,
        optimizers: Sequence[Optimizer],
        *,
        recurrences: Sequence[Recurrence] | None = None,
        scale: float = 1.0,
    ) -> None:
        self.rule = rule
        self.jacobian = jacobian
        self.optimizers = optimizers
        self.scale = scale
        self.recurrences = list(recurrences) if recurrences is not None else _recurrences(jacobian, optimizers)
        self._game = LinearGame(jacobian)
        self._handles = [
            LinearOptimizer(player, r.scaled(scale), optimizer)
            for player, r, optimizer in zip(self._game.players, self.recurrences, optimizers, strict=True)
        ]
        self._sizes = [t.numel() for t in self._read(self._fresh())]

    @property
    def period(self) -> int:
        """Iterations that one application spans."""
        return self.rule.period

    @property
    def size(self) -> int:
        """Dimension of the state."""
        return sum(self._sizes)

    def scaled(self, factor: float) -> UpdateOperator:
        """The operator at ``factor`` times these learning rates."""
        return UpdateOperator(
            self.rule, self.jacobian, self.optimizers, recurrences=self.recurrences, scale=factor * self.scale
        )

    def on(self, jacobian: Jacobian, recurrences: Sequence[Recurrence]) -> UpdateOperator:
        """The operator of the same rule and kind of optimizers on another game."""
        return UpdateOperator(self.rule, jacobian, self.optimizers, recurrences=recurrences, scale=self.scale)

    def __call__(self, vector: Tensor) -> Tensor:
        norm = float(vector.norm())
        if norm == 0:
            return torch.zeros_like(vector)
        exponent = SIZE_EXPONENT - math.frexp(norm)[1]
        state = self._write(torch.ldexp(vector, torch.tensor(exponent)))
        for _ in range(self.period):
            state = self.rule.step(self._game, self._handles, _same_batch, state)
        return torch.ldexp(torch.cat([t.reshape(-1) for t in self._read(state)]), torch.tensor(-exponent))

    def dense(self) -> Tensor:
        """The matrix, shape (size, size)."""
        like = self._handles[0].memory
        units = torch.eye(self.size, dtype=like.dtype, device=like.device)
        return torch.stack([self(unit) for unit in units], 1)

    def _fresh(self) -> Any:
        return self.rule.init(self._game, self._handles)

    def _read(self, state: Any) -> list[Tensor]:
        momenta = [h.memory for h in self._handles if h.recurrence.remembers]
        return [h.position() for h in self._handles] + momenta + _tensors(state)

    def _write(self, vector: Tensor) -> Any:
        parts = list(torch.split(vector, self._sizes))
        for handle in self._handles:
            handle.move_to(parts.pop(0))
        for handle in self._handles:
            handle.memory = parts.pop(0) if handle.recurrence.remembers else torch.zeros_like(handle.memory)
        state = _replaced(self._fresh(), parts)
        assert not parts
        return state


def _recurrences(jacobian: Jacobian, optimizers: Sequence[Optimizer]) -> list[Recurrence]:
    game = getattr(jacobian, "game", None)
    if game is None:  # a matrix, in the optimizers' order
        return [recurrence(optimizer) for optimizer in optimizers]
    parameters = [[p for p in player.parameters() if p.requires_grad] for player in game.players]
    return [recurrence(o, own) for o, own in zip(optimizers, parameters, strict=True)]


def _same_batch(k: int) -> None:
    """All draws of an iteration are the same to a linearised game."""


def _tensors(tree: Any) -> list[Tensor]:
    """The tensors of a tree of dictionaries and lists, in a fixed order."""
    if isinstance(tree, Tensor):
        return [tree]
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else ()
    return [tensor for child in children for tensor in _tensors(child)]


def _replaced(tree: Any, tensors: list[Tensor]) -> Any:
    """The tree with its tensors taken from the front of the list."""
    if isinstance(tree, Tensor):
        return tensors.pop(0).view_as(tree)
    if isinstance(tree, dict):
        return {name: _replaced(child, tensors) for name, child in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_replaced(child, tensors) for child in tree)
    return tree
