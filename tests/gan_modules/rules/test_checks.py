"""Rules refuse what they are not defined for, and say what to do instead."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from recipes import make, parameters, quiet_trainer, ring
from rule_recipes import RULES
from torch import nn
from torch.optim import SGD, Adam, AdamW, Rprop

from gan_modules import BilinearGame
from gan_modules.dynamics import MatrixJacobian, Play
from gan_modules.rules import (
    Alternating,
    CompetitiveGradient,
    Consensus,
    Extragradient,
    Lookahead,
    NegativeMomentum,
    RungeKutta,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
)

PLAIN = [CompetitiveGradient(), RungeKutta(4), Lookahead(RungeKutta(2)), NegativeMomentum(CompetitiveGradient())]
ALTERED = [
    pytest.param(partial(Adam, lr=0.1), r"Adam\(\)", id="Adam"),
    pytest.param(partial(SGD, lr=0.1, momentum=0.9), r"SGD\(momentum=0.9\)", id="momentum"),
    pytest.param(partial(SGD, lr=0.1, weight_decay=0.01), r"SGD\(weight_decay=0.01\)", id="decay"),
    pytest.param(partial(SGD, lr=0.1, maximize=True), r"SGD\(maximize=True\)", id="maximize"),
]


@pytest.mark.parametrize(("optimizer", "words"), ALTERED)
@pytest.mark.parametrize("rule", PLAIN, ids=repr)
def test_rules_of_plain_gradients_refuse_others_before_anything_moves(rule, optimizer, words):
    plain = partial(SGD, lr=0.1)
    game = BilinearGame([[1.0]])
    for makers in ((optimizer, plain), (plain, optimizer)):
        with pytest.raises(ValueError, match=words) as refusal:
            Play(game, rule, makers)
        assert "torch.optim.SGD" in str(refusal.value)
        assert "Extragradient" in str(refusal.value)
        assert any(name in str(refusal.value) for name in ("CompetitiveGradient", "RungeKutta"))


def test_training_is_refused_before_it_starts():
    model = make("NSGAN", rule=RungeKutta(4))
    before = parameters(model)
    with pytest.raises(ValueError, match=r"RungeKutta\(order=4\) is defined for plain gradient steps, and Adam"):
        quiet_trainer().fit(model, ring())
    assert all(torch.equal(value, before[name]) for name, value in parameters(model).items())


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in PLAIN], ids=repr)
def test_others_take_any_optimizer_or_say_so(rule):
    play = None
    try:
        play = Play(BilinearGame([[1.0]]), rule, (partial(Rprop, lr=0.01), partial(Adam, lr=0.01)))
    except ValueError as refusal:
        assert "plain gradient steps" in str(refusal)  # noqa: PT017, either is right
    if play is not None:
        before = play.position
        play.step()
        assert (play.position != before).all()


BAD = [
    (Alternating, {"n_critic": 0}),
    (Alternating, {"n_critic": -1}),
    (Alternating, {"first": "critic"}),
    (CompetitiveGradient, {"tolerance": 0.0}),
    (CompetitiveGradient, {"tolerance": float("nan")}),
    (CompetitiveGradient, {"max_iterations": 0}),
    (Consensus, {"gamma": -0.1}),
    (Consensus, {"gamma": float("nan")}),
    (Lookahead, {"k": 0}),
    (Lookahead, {"alpha": 0.0}),
    (Lookahead, {"alpha": 1.5}),
    (Lookahead, {"alpha": float("nan")}),
    (NegativeMomentum, {"beta": 0.5}),
    (NegativeMomentum, {"beta": -1.0}),
    (NegativeMomentum, {"beta": float("nan")}),
    (RungeKutta, {"order": 1}),
    (RungeKutta, {"order": 5}),
    (SymplecticAdjustment, {"lambda_": -1.0}),
    (SymplecticAdjustment, {"lambda_": float("nan")}),
    (Unrolled, {"k": 0}),
    (Unrolled, {"lr": 0.0}),
    (Unrolled, {"lr": -0.1}),
]


@pytest.mark.parametrize(("cls", "arguments"), BAD, ids=lambda x: x.__name__ if isinstance(x, type) else str(x))
def test_bad_arguments_are_named_with_their_value(cls, arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(.*{name}={value!r}"):
        cls(**arguments)


# --- the operator -----------------------------------------------------------------------------------------------------


def two(make):
    return [make([nn.Parameter(torch.zeros(1, dtype=torch.float64))]) for _ in range(2)]


TURN = MatrixJacobian(torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64), (1, 1))


@pytest.mark.parametrize("optimizer", [Adam, AdamW, torch.optim.RMSprop])
def test_an_operator_needs_second_moments(optimizer):
    with pytest.raises(ValueError, match=f"{optimizer.__name__} has not stepped yet.*or use SGD"):
        Simultaneous().operator(TURN, two(optimizer))


def test_an_operator_needs_a_known_optimizer():
    with pytest.raises(TypeError, match=r"Rprop has no known linearisation.*recurrence_of_group.register"):
        Extragradient().operator(TURN, two(Rprop))
