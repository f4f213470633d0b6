"""Example instances of every rule, and the map that a rule's real step makes of its full state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from recipes import _with_ranks, make, parameters, quiet_trainer, ring
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.utils._pytree import tree_flatten, tree_unflatten

from gan_modules import GANModule, rules
from gan_modules.dynamics import Play, dense
from gan_modules.rules import (
    Alternating,
    CompetitiveGradient,
    Consensus,
    Extragradient,
    Lookahead,
    NegativeMomentum,
    Optimistic,
    RungeKutta,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
    UpdateRule,
)

#: a new rule must appear here: test_rules.py says so
EXAMPLES: dict[str, list[UpdateRule]] = {
    "Alternating": [Alternating(), Alternating(3), Alternating(2, first="generator")],
    "CompetitiveGradient": [CompetitiveGradient()],
    "Consensus": [Consensus(0.4)],
    "Extragradient": [Extragradient(), Extragradient(fresh=True)],
    "Lookahead": [Lookahead(), Lookahead(Simultaneous(), k=3, alpha=0.7), Lookahead(Optimistic(), k=2)],
    "NegativeMomentum": [
        NegativeMomentum(),
        NegativeMomentum(Simultaneous(), beta=-0.3),
        NegativeMomentum(Lookahead(Extragradient(), k=2)),
    ],
    "Optimistic": [Optimistic()],
    "RungeKutta": [RungeKutta(2), RungeKutta(3), RungeKutta(4)],
    "Simultaneous": [Simultaneous()],
    "SymplecticAdjustment": [SymplecticAdjustment(0.4), SymplecticAdjustment(0.4, align=False)],
    "Unrolled": [Unrolled(2), Unrolled(3, lr=0.05), Lookahead(Unrolled(1), k=2)],
}
RULES = [rule for examples in EXAMPLES.values() for rule in examples]
#: one of each, the cheapest that shows what is particular to it
ONE_OF_EACH = [examples[-1] if name == "Alternating" else examples[0] for name, examples in EXAMPLES.items()]


def exported() -> set[str]:
    """Names of the rules that gan_modules.rules exports."""
    found = {name: getattr(rules, name) for name in rules.__all__}
    return {
        name
        for name, item in found.items()
        if inspect.isclass(item) and issubclass(item, UpdateRule) and not inspect.isabstract(item)
    }


def defined_with(rule: UpdateRule, optimizers: list[Optimizer]) -> bool:
    try:
        rule.check(optimizers)
    except ValueError:
        return False
    return True


# --- optimizers, by the memory that they are given --------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """Both players' optimizers, with second moments that are set by hand, and the name of what carries momentum."""

    make: tuple[Callable[[Any], Optimizer], Callable[[Any], Optimizer]]
    momentum: str | None = None
    memory: Callable[[Tensor], dict[str, Any]] = field(default=lambda p: {})


def gradient_descent(first: float, second: float | None = None) -> Setting:
    rates = first, first if second is None else second
    return Setting((partial(SGD, lr=rates[0]), partial(SGD, lr=rates[1])))


def _both(make: Callable[..., Optimizer], **kwargs: Any) -> Any:
    return partial(make, lr=0.07, **kwargs), partial(make, lr=0.11, **kwargs)


def _squares(p: Tensor) -> Tensor:
    """Second moments between 1 and 4, other ones for each coordinate, the same at each call."""
    return 1 + 3 * torch.linspace(0.1, 0.9, p.numel(), dtype=p.dtype).view_as(p)


def _adam(p: Tensor, **more: Any) -> dict[str, Any]:
    # after so many steps the moments are no longer corrected for their start
    return {"step": torch.tensor(1e6), "exp_avg": torch.zeros_like(p), "exp_avg_sq": _squares(p), **more}


def _amsgrad(p: Tensor) -> dict[str, Any]:
    return _adam(p, max_exp_avg_sq=_squares(p))


def _rmsprop(p: Tensor, **more: Any) -> dict[str, Any]:
    return {"step": torch.tensor(1e6), "square_avg": _squares(p), "momentum_buffer": torch.zeros_like(p), **more}


def _centered(p: Tensor) -> dict[str, Any]:
    return _rmsprop(p, grad_avg=torch.full_like(p, 0.3))


#: second moments stay as they are in all of these: they are maxima, or averages that forget nothing
SETTINGS = {
    "sgd": gradient_descent(0.07, 0.11),
    "momentum": Setting(_both(SGD, momentum=0.6, dampening=0.2), "momentum_buffer"),
    "nesterov": Setting(_both(SGD, momentum=0.6, nesterov=True), "momentum_buffer"),
    "decay": Setting(_both(SGD, weight_decay=0.2)),
    "momentum and decay": Setting(_both(SGD, momentum=0.5, weight_decay=0.2), "momentum_buffer"),
    "one with momentum": Setting(
        (partial(SGD, lr=0.07), partial(SGD, lr=0.11, momentum=0.6)),
        "momentum_buffer",
    ),
    "adam": Setting(_both(Adam, betas=(0.5, 0.9), amsgrad=True), "exp_avg", _amsgrad),
    "adam without momentum": Setting(_both(Adam, betas=(0.0, 0.9), amsgrad=True), None, _amsgrad),
    "adam and decay": Setting(_both(Adam, betas=(0.5, 0.9), amsgrad=True, weight_decay=0.2), "exp_avg", _amsgrad),
    "adamw": Setting(_both(AdamW, betas=(0.5, 0.9), amsgrad=True, weight_decay=0.2), "exp_avg", _amsgrad),
    "rmsprop": Setting(_both(RMSprop, alpha=1.0), None, _rmsprop),
    "rmsprop, momentum and centering": Setting(
        _both(RMSprop, alpha=1.0, momentum=0.4, centered=True, weight_decay=0.1), "momentum_buffer", _centered
    ),
}
#: second moments move on a little at each step
DRIFTING = {
    "adam": Setting(_both(Adam, betas=(0.5, 0.999)), "exp_avg", _adam),
    "rmsprop": Setting(_both(RMSprop, alpha=0.999), None, _rmsprop),
}


# --- the full state of a play: positions, momenta, what the rule remembers --------------------------------------------


#: of a displacement from the equilibrium; a power of two, by which numbers are multiplied exactly
SMALL = 2.0**-24


class StatefulPlay(Play):
    """A play whose full state can be read and set: positions, optimizers' momenta, the rule's tensors."""

    def __init__(self, game: Any, rule: UpdateRule, setting: Setting, at: Tensor | None = None) -> None:
        self.setting = setting
        super().__init__(game, rule, setting.make, lambda k: game.batch())
        #: the equilibrium, by default 0
        self.at = torch.zeros_like(self.position) if at is None else at
        self._start = tree_flatten(self.memory)
        self._forget()

    def _forget(self) -> None:
        for optimizer, parameter in self._parameters():
            optimizer.state[parameter] = self.setting.memory(parameter)

    def _parameters(self) -> Iterator[tuple[Optimizer, Tensor]]:
        for handle in self.handles:
            for parameter in handle.parameters:
                yield handle.optimizer, parameter

    def _momenta(self) -> list[tuple[dict[str, Any], Tensor]]:
        """Where a momentum is kept, and the parameter that it belongs to."""
        return [
            (optimizer.state[p], p)
            for optimizer, p in self._parameters()
            if self.setting.momentum and optimizer.param_groups[0].get("momentum", 1.0)
        ]

    @property
    def state(self) -> Tensor:
        momenta = [memory.get(self.setting.momentum, torch.zeros_like(p)) for memory, p in self._momenta()]
        tensors = [t for t in tree_flatten(self.memory)[0] if isinstance(t, Tensor)]
        return torch.cat([self.position, *(t.detach().reshape(-1) for t in [*momenta, *tensors])])

    @state.setter
    def state(self, value: Tensor) -> None:
        self._forget()
        left = value

        def take(like: Tensor) -> Tensor:
            nonlocal left
            part, left = left[: like.numel()], left[like.numel() :]
            return part.clone().view_as(like)

        self.position = take(self.position)
        for memory, parameter in self._momenta():
            memory[self.setting.momentum] = take(parameter)
        leaves, structure = self._start
        self.memory = tree_unflatten([take(x) if isinstance(x, Tensor) else x for x in leaves], structure)
        assert not len(left)

    def after_a_period(self, state: Tensor) -> Tensor:
        self.state = state
        for _ in range(self.rule.period):
            self.step()
        return self.state

    def rest(self) -> Tensor:
        """The state in which nothing moves."""
        self.position = self.at
        self.memory = self.rule.init(self.game, self.handles)
        self._forget()
        return self.state

    def matrix(self) -> Tensor:
        """The linear map that a period makes of the state near the equilibrium.

        At 0, displacements are so small that a game's curvature counts for 1e-14, and since the state is nothing but
        the displacement, its rounding errors are relative to it: nothing is lost. Elsewhere central differences are
        taken, with an error of 1e-10.
        """
        rest = self.rest()
        elsewhere = bool(self.at.any())
        size = 2.0**-16 if elsewhere else SMALL
        columns = []
        for x in size * torch.eye(len(rest), dtype=torch.float64):
            moved = self.after_a_period(rest + x)
            columns.append((moved - self.after_a_period(rest - x)) / (2 * size) if elsewhere else moved / size)
        return torch.stack(columns, 1)


def predicted(play: StatefulPlay) -> Any:
    """The rule's own operator at the play's present optimizers, on the game's Jacobian at the equilibrium."""
    play.rest()
    batch = play.game.batch()
    operator = play.rule.operator(play.game.jacobian(batch), play.optimizers)
    return operator if operator.size < 8 else operator.on(dense(operator.jacobian), operator.recurrences)


# --- under the Trainer ------------------------------------------------------------------------------------------------


def by_gradient_descent(rule: UpdateRule, lr: float = 0.05, **kwargs: Any) -> GANModule:
    """A small GAN on points of the plane that any rule can train."""
    sgd = partial(SGD, lr=lr)
    return make("NSGAN", rule=rule, generator_optimizer=sgd, discriminator_optimizer=sgd, **kwargs)


def trained_on_ranks(rank: int, world: int, examples: list[UpdateRule]) -> list[dict[str, Tensor]]:
    """Parameters after two iterations of each rule in float64, so that they differ by the gradients alone."""

    def train(rule: UpdateRule, **kwargs: Any) -> dict[str, Tensor]:
        model = by_gradient_descent(rule)
        quiet_trainer(precision="64-true", num_sanity_val_steps=0, limit_val_batches=0, **kwargs).fit(model, ring())
        return parameters(model)

    return [_with_ranks(rank, world, partial(train, rule)) for rule in examples]
