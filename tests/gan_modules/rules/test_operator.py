"""The operator of a rule is what its real step does to the full state: parameters, momenta, and the rule's memory."""

from __future__ import annotations

import pytest
import torch
from rule_recipes import (
    DRIFTING,
    ONE_OF_EACH,
    RULES,
    SETTINGS,
    SMALL,
    Setting,
    StatefulPlay,
    defined_with,
    gradient_descent,
    predicted,
)
from torch import nn
from torch.testing import assert_close

from gan_modules import BilinearGame, DiracGAN, GaussianGAN, LinearQuadraticGame
from gan_modules.losses import NonSaturating
from gan_modules.penalties import R1
from gan_modules.rules import Alternating, Extragradient, Optimistic

every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
within = {"rtol": 0, "atol": 1e-9}


def random_matrix(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def general_sum(m, n, seed=0):
    """A game whose players' interests have nothing to do with each other."""
    jacobian = random_matrix(m + n, m + n, seed=seed)
    for part in (slice(0, m), slice(m, None)):
        jacobian[part, part] = (jacobian[part, part] + jacobian[part, part].T) / 2
    return LinearQuadraticGame(jacobian, m)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (8, 8)], ids=str)
@every_rule
def test_bilinear(rule, shape):
    play = StatefulPlay(BilinearGame(random_matrix(*shape)), rule, gradient_descent(0.05, 0.08))
    operator = predicted(play)
    assert_close(play.matrix(), operator.dense(), **within)


@every_rule
def test_large_bilinear(rule):
    play = StatefulPlay(BilinearGame(random_matrix(50, 50) / 50**0.5), rule, gradient_descent(0.05, 0.08))
    operator = predicted(play)
    for seed in range(3):
        state = SMALL * random_matrix(operator.size, seed=seed)
        assert_close(play.after_a_period(state) / SMALL, operator(state) / SMALL, **within)


#: every rule with one optimizer of each kind, and a few rules with all of them
KINDS = ("sgd", "momentum and decay", "adam", "rmsprop, momentum and centering")
PAIRS = [(rule, name) for rule in RULES for name in KINDS]
PAIRS += [(rule, name) for rule in (Alternating(3), Extragradient(), Optimistic()) for name in SETTINGS.keys() - KINDS]


@pytest.mark.parametrize(("rule", "setting"), sorted(PAIRS, key=repr), ids=repr)
def test_general_sum_with_every_optimizer(rule, setting):
    setting = SETTINGS[setting]
    if not defined_with(rule, [make([nn.Parameter(torch.zeros(1))]) for make in setting.make]):
        return  # refused: see test_checks.py
    play = StatefulPlay(general_sum(2, 1), rule, setting)
    assert_close(play.matrix(), predicted(play).dense(), **within)


@pytest.mark.parametrize("loss", [None, NonSaturating()], ids=["saturating", "non-saturating"])
@every_rule
def test_dirac_gan_with_r1(rule, loss):
    play = StatefulPlay(DiracGAN(loss, [R1(0.3)]), rule, gradient_descent(0.3, 0.2))
    assert_close(play.matrix(), predicted(play).dense(), **within)


@every_rule
def test_around_an_equilibrium_that_is_not_zero(rule):
    game = GaussianGAN(mean=[0.7], covariance=[[0.5]], gamma=0.8)
    play = StatefulPlay(game, rule, gradient_descent(0.05, 0.08), at=game.equilibrium())
    assert_close(play.matrix(), predicted(play).dense(), **within)


@pytest.mark.parametrize("setting", DRIFTING)
@pytest.mark.parametrize("rule", ONE_OF_EACH, ids=repr)
def test_second_moments_that_move_on_a_little(rule, setting):
    setting = DRIFTING[setting]
    if not defined_with(rule, [make([nn.Parameter(torch.zeros(1))]) for make in setting.make]):
        return
    play = StatefulPlay(general_sum(2, 1), rule, setting)
    # they lose a thousandth at each step
    assert_close(play.matrix(), predicted(play).dense(), rtol=0, atol=1e-3 * rule.period)


@every_rule
def test_scaled_learning_rates(rule):
    game = general_sum(2, 1)
    operator = predicted(StatefulPlay(game, rule, gradient_descent(0.05, 0.08)))
    assert_close(
        operator.scaled(1.5).dense(), predicted(StatefulPlay(game, rule, gradient_descent(0.075, 0.12))).dense()
    )


class InTwo(nn.Module):
    """A player whose numbers are two parameters."""

    def __init__(self, x):
        super().__init__()
        self.head, self.tail = nn.Parameter(x[:1].detach().clone()), nn.Parameter(x[1:].detach().clone())

    @property
    def x(self):
        return torch.cat([self.head, self.tail])


@every_rule
def test_learning_rates_by_parameter_group(rule):
    def make(parameters):
        head, tail = parameters
        return torch.optim.SGD([{"params": [tail], "lr": 0.03}, {"params": [head], "lr": 0.09}])

    game = general_sum(2, 2)
    game.first, game.second = InTwo(game.first.x), InTwo(game.second.x)
    play = StatefulPlay(game, rule, Setting((make, make)))
    assert_close(play.matrix(), predicted(play).dense(), **within)


@every_rule
def test_an_equilibrium_of_the_game_is_one_of_the_rule(rule):
    game = GaussianGAN()
    play = StatefulPlay(game, rule, gradient_descent(0.1), at=game.equilibrium())
    rest = play.rest()
    for _ in range(2 * rule.period):
        play.step()
    assert_close(play.state, rest, rtol=0, atol=1e-12)
