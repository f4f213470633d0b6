"""Torch optimizers near a point where gradients vanish: linear recurrences, with second moments as constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop

from gan_modules.dynamics.linear_game import Displacement


@dataclass(frozen=True)
class Recurrence:
    """g' = g + decay x;  m' = momentum m + intake g';  x' = (1 - shrinkage) x - rate (look_ahead g' + carry m').

    Numbers are scalars, or one a coordinate of the player; ``rate`` is the learning rate itself.
    """

    rate: Tensor
    momentum: Tensor
    intake: Tensor
    look_ahead: Tensor
    carry: Tensor
    decay: Tensor
    shrinkage: Tensor

    def scaled(self, factor: float) -> Recurrence:
        """The same optimizer with ``factor`` times its learning rate."""
        return replace(self, rate=factor * self.rate, shrinkage=factor * self.shrinkage)

    @property
    def remembers(self) -> bool:
        """Whether there is a momentum to remember."""
        return bool((self.momentum != 0).any())

    @property
    def flow(self) -> Tensor:
        """Displacement for each unit of a lasting gradient: what the recurrence is at small rates."""
        return self.rate * (self.look_ahead + self.carry * self.intake / (1 - self.momentum))

    def of_exponent(self) -> Recurrence:
        """The recurrence of one number whose flow is its field: the kind of optimizer, without its rates and decay."""
        one = {name: getattr(self, name).reshape(-1)[:1].cpu().double() for name in self.__dataclass_fields__}
        one |= {name: torch.zeros_like(one["rate"]) for name in ("decay", "shrinkage")}
        unscaled = Recurrence(**(one | {"rate": torch.ones_like(one["rate"])}))
        return replace(unscaled, rate=1 / unscaled.flow)


@singledispatch
def recurrence_of_group(optimizer: Optimizer, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor | float]:
    """The numbers of a Recurrence for one parameter, shape of the parameter or scalars; others are 0.

    Register a function for an optimizer of your own: ``@recurrence_of_group.register``.
    """
    raise TypeError(
        f"{type(optimizer).__name__} has no known linearisation, so that its stability can't be predicted: use SGD, "
        "Adam, AdamW or RMSprop, or register one with gan_modules.dynamics.recurrence_of_group.register."
    )


@recurrence_of_group.register
def _(optimizer: SGD, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor | float]:
    sign = -1.0 if group["maximize"] else 1.0
    momentum = float(group["momentum"])
    numbers = {"rate": sign * group["lr"], "decay": sign * group["weight_decay"], "momentum": momentum}
    if not momentum:
        return numbers | {"look_ahead": 1.0}
    look_ahead = 1.0 if group["nesterov"] else 0.0
    carry = momentum if group["nesterov"] else 1.0
    return numbers | {"intake": 1 - group["dampening"], "look_ahead": look_ahead, "carry": carry}


@recurrence_of_group.register
def _(optimizer: Adam, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor | float]:
    beta1, beta2 = map(float, group["betas"])
    memory = _memory(optimizer, parameter)
    step = float(memory["step"])
    # the average of squares as it is: the next gradient's square is taken to be like the past ones
    square = memory["max_exp_avg_sq"] if group["amsgrad"] else memory["exp_avg_sq"]
    root = (square / (1 - beta2**step)).sqrt() + group["eps"]
    sign = -1.0 if group["maximize"] else 1.0
    decoupled = isinstance(optimizer, AdamW) or group.get("decoupled_weight_decay", False)
    weight_decay = float(group["weight_decay"])
    return {
        "rate": sign * group["lr"],
        "momentum": beta1,
        "intake": 1 - beta1,
        "carry": 1 / root / (1 - beta1 ** (step + 1)),
        "decay": 0.0 if decoupled else sign * weight_decay,
        "shrinkage": group["lr"] * weight_decay if decoupled else 0.0,
    }


@recurrence_of_group.register
def _(optimizer: RMSprop, group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor | float]:
    memory = _memory(optimizer, parameter)
    square = memory["square_avg"] - memory["grad_avg"].square() if group["centered"] else memory["square_avg"]
    sign = -1.0 if group["maximize"] else 1.0
    momentum = float(group["momentum"])
    return {
        "rate": sign * group["lr"],
        "momentum": momentum,
        "intake": 1 / (square.sqrt() + group["eps"]),  # the momentum is one of gradients that are scaled already
        "carry": 1.0,
        "decay": sign * group["weight_decay"],
    }


def _memory(optimizer: Optimizer, parameter: Tensor) -> dict[str, Any]:
    memory: dict[str, Any] = optimizer.state.get(parameter, {})
    if not memory:
        raise ValueError(
            f"{type(optimizer).__name__} has not stepped yet, so that its second moments are unknown: ask after some "
            "iterations of training, or use SGD."
        )
    return memory


def recurrence(optimizer: Optimizer, parameters: Sequence[Tensor] = ()) -> Recurrence:
    """The linear recurrence of an optimizer at its present second moments, over its trained parameters.

    Gradient clipping is taken not to bind, which near an equilibrium it does not.

    Args:
        optimizer: whose settings and second moments count.
        parameters: the player's, in its order, which groups of the optimizer may have changed; the optimizer's order
            where they are others.

    Raises:
        TypeError: an optimizer without a known linearisation.
        ValueError: an adaptive optimizer that has not stepped yet.
    """
    columns: dict[str, list[Tensor]] = {name: [] for name in Recurrence.__dataclass_fields__}
    groups = {p: group for group in optimizer.param_groups for p in group["params"] if p.requires_grad}
    for parameter in parameters if set(parameters) == set(groups) else groups:
        numbers = recurrence_of_group(optimizer, groups[parameter], parameter)
        for name, column in columns.items():
            value = torch.as_tensor(numbers.get(name, 0.0), dtype=parameter.dtype, device=parameter.device)
            column.append(value.detach().expand(parameter.shape).reshape(-1))
    return Recurrence(**{name: torch.cat(column) for name, column in columns.items()})


@dataclass
class LinearOptimizer:
    """The handle by which a rule moves a player of a linearised game."""

    player: Displacement
    recurrence: Recurrence
    optimizer: Optimizer
    memory: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.memory = torch.zeros_like(self.player.x)

    @property
    def rates(self) -> Tensor:
        return self.recurrence.rate

    @property
    def gradient(self) -> Tensor:
        assert self.player.x.grad is not None
        return self.player.x.grad.clone()

    @gradient.setter
    def gradient(self, value: Tensor) -> None:
        self.player.x.grad = value

    def position(self) -> Tensor:
        return self.player.x.detach().clone()

    def move_to(self, position: Tensor) -> None:
        self.player.x.data = position.clone()

    def step(self) -> None:
        r, x = self.recurrence, self.player.x.data
        gradient = self.gradient + r.decay * x
        self.memory = r.momentum * self.memory + r.intake * gradient
        self.move_to((1 - r.shrinkage) * x - r.rate * (r.look_ahead * gradient + r.carry * self.memory))
