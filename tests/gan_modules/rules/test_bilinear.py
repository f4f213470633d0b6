"""Rules on bilinear games: rates in each singular plane, limits, and long trajectories, against closed forms.

Gidel et al. (2019, 2019b), Zhang and Yu (2020); s is learning rate x singular value.
"""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import torch
from rule_recipes import ONE_OF_EACH, RULES, SMALL, StatefulPlay, gradient_descent, predicted
from torch.testing import assert_close

from gan_modules import BilinearGame, LinearQuadraticGame
from gan_modules.dynamics import Play
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
)


def random_matrix(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def has_closed_form(rule):
    try:
        BilinearGame([[1.0]]).rates(rule, 0.1)
    except NotImplementedError:
        return False
    return True


CLOSED = [rule for rule in RULES if has_closed_form(rule)]


def measured_rates(game, rule, lr):
    """Growth per iteration in the plane of each singular pair, largest singular value first, seen in a trajectory.

    Coordinates in a plane follow a linear recurrence; its roots are fitted to the first iterations.
    """
    delays = 2 if rule.cost.memory and rule.period == 1 else 1
    play = Play(game, rule, lr)
    play.position = SMALL * play.position
    track = torch.stack(list(play.trajectory(10 * rule.period)))[:: rule.period] / SMALL
    left, _, right = torch.linalg.svd(game.a, full_matrices=False)
    m = len(game.a)
    rates = []
    for plane in torch.stack([track[:, :m] @ left, track[:, m:] @ right.T], -1).unbind(1):
        rows = torch.cat([plane[i : len(plane) - delays + 1 + i] for i in range(delays)], 1)
        step = torch.linalg.lstsq(rows[:-1], rows[1:], driver="gelsd").solution
        rates.append(torch.linalg.eigvals(step).abs().max() ** (1 / rule.period))
    return torch.stack(rates)


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (4, 5)], ids=str)
@pytest.mark.parametrize("rule", CLOSED, ids=repr)
def test_rates_in_every_singular_plane(rule, shape):
    game = BilinearGame(random_matrix(*shape, seed=1))
    for lr in (0.02, 0.1) if shape == (3, 2) else (0.05,):
        assert_close(measured_rates(game, rule, lr), game.rates(rule, lr), rtol=0, atol=1e-7)


@pytest.mark.parametrize("s", [0.4, 1.3])
@pytest.mark.parametrize("rule", CLOSED, ids=repr)
def test_radius_within_and_beyond_the_stable_range(rule, s):
    game = BilinearGame([[2.0]])
    play = StatefulPlay(game, rule, gradient_descent(s / 2))
    radius = torch.linalg.eigvals(play.matrix()).abs().max() ** (1 / rule.period)
    assert_close(radius, game.rates(rule, s / 2)[0], rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("rule", "rate"),
    [
        (Simultaneous(), 1.004988),
        (Extragradient(), 0.995038),
        (Optimistic(), 0.994936),
        (CompetitiveGradient(), 0.995037),
        (SymplecticAdjustment(0.1), 0.995038),
        (Consensus(0.1), 0.995038),
        (Lookahead(Simultaneous(), k=5), 0.996237),
        (Lookahead(Simultaneous(), k=10), 0.989614),
        (Lookahead(Simultaneous(), k=20), 0.972556),
    ],
    ids=repr,
)
def test_rates_at_a_tenth(rule, rate):
    assert float(measured_rates(BilinearGame([[1.0]]), rule, 0.1)) == pytest.approx(rate, abs=6e-7)


@pytest.mark.parametrize(
    ("rule", "s", "rate"),
    [
        (Extragradient(), 1 / math.sqrt(2), math.sqrt(3) / 2),
        (Optimistic(), 0.5, 1 / math.sqrt(2)),
        (Lookahead(Simultaneous(), k=5), 0.544, 0.9131),
        (Lookahead(Simultaneous(), k=10), 0.305, 0.8872),
        (Lookahead(Simultaneous(), k=20), 0.156, 0.9059),
        (NegativeMomentum(beta=-0.5), 0.5, 0.9625),
    ],
    ids=repr,
)
def test_best_rates(rule, s, rate):
    game = BilinearGame([[1.0]])
    assert float(game.rates(rule, s)[0]) == pytest.approx(rate, abs=6e-5)
    matrix = StatefulPlay(game, rule, gradient_descent(s)).matrix()
    assert float(torch.linalg.eigvals(matrix).abs().max() ** (1 / rule.period)) == pytest.approx(rate, abs=6e-5)


LIMITS = [  # (rule, learning rate up to which it contracts where A = 1)
    (Alternating(), 2.0),
    (Alternating(3), 2 / math.sqrt(3)),
    (Extragradient(), 1.0),
    (Optimistic(), 1 / math.sqrt(3)),
    (RungeKutta(3), math.sqrt(3)),
    (RungeKutta(4), 2 * math.sqrt(2)),
    (NegativeMomentum(), 1.0),
    (NegativeMomentum(beta=-0.3), 1.4),
    (Lookahead(Simultaneous(), k=5), 0.743),
    (Lookahead(Simultaneous(), k=10), 0.436),
    (Lookahead(Simultaneous(), k=20), 0.239),
    (Consensus(0.4), 0.8 / 1.16),  # (1 - h gamma)^2 + h^2 = 1
    (SymplecticAdjustment(0.4), 0.8 / 1.16),
    (Unrolled(2), 2 / math.sqrt(7)),  # a flip: 4 = (4k - 1) h^2
    (Unrolled(3, lr=0.05), 0.3),  # determinant 1 - 2k h' h + h^2 = 1
]


@pytest.mark.parametrize(("rule", "limit"), LIMITS, ids=lambda x: repr(x) if not isinstance(x, float) else "")
def test_stable_up_to_the_limit_and_divergent_one_percent_past_it(rule, limit):
    game = BilinearGame([[1.0]])
    with suppress(NotImplementedError):
        assert game.stability_limit(rule) == pytest.approx(limit)
    for factor in (0.5, 0.99):
        rate = float(measured_rates(game, rule, factor * limit))
        assert rate < 1 if not isinstance(rule, Alternating) else rate == pytest.approx(1, abs=1e-9)
    assert float(measured_rates(game, rule, 1.01 * limit)) > 1.0001


NEVER = [Simultaneous(), RungeKutta(2), Lookahead(Simultaneous(), k=2), NegativeMomentum(Simultaneous())]


@pytest.mark.parametrize("rule", NEVER, ids=repr)
def test_never_stable(rule):
    game = BilinearGame([[1.0]])
    for lr in (0.1, 0.5):
        assert float(measured_rates(game, rule, lr)) > 1 + 1e-6
    with suppress(NotImplementedError):
        assert game.stability_limit(rule) == 0


@pytest.mark.parametrize("lr", [1.0, 100.0])
def test_competitive_gradient_is_stable_at_any_rate(lr):
    game = BilinearGame([[1.0]])
    assert game.stability_limit(CompetitiveGradient()) == math.inf
    assert float(measured_rates(game, CompetitiveGradient(), lr)) == pytest.approx(1 / math.hypot(1, lr), rel=1e-6)


@pytest.mark.parametrize("rule", [*ONE_OF_EACH, Lookahead(Optimistic(), k=2)], ids=repr)
def test_two_hundred_iterations_are_powers_of_the_operator(rule):
    game = BilinearGame(random_matrix(3, 2, seed=2), start=SMALL * random_matrix(5))
    play = StatefulPlay(game, rule, gradient_descent(0.05, 0.08))
    state = play.state
    *_, end = play.trajectory(200 - 200 % rule.period)
    operator = StatefulPlay(BilinearGame(game.a), rule, gradient_descent(0.05, 0.08))
    power = torch.linalg.matrix_power(predicted(operator).dense(), 200 // rule.period)
    expected = power @ state
    assert_close(end / SMALL, expected[:5] / SMALL, rtol=1e-9, atol=1e-9)
    assert_close(play.state / SMALL, expected / SMALL, rtol=1e-9, atol=1e-9)


def test_alternating_keeps_its_energy():
    game = BilinearGame([[1.999]], start=[0.6, -0.8])
    track = torch.stack(list(Play(game, Alternating(), 1.0).trajectory(300)))
    # u^2 + v^2 + s u v stays, the sign being that of who moves first, which bounds the norm by (1 + s/2) / (1 - s/2)
    energy = track.square().sum(1) + 1.999 * track.prod(1)
    assert_close(energy, energy[:1].expand(301))


def test_who_moves_first_changes_the_map_but_not_its_eigenvalues():
    game = LinearQuadraticGame([[-0.3, -1.0], [0.7, -0.2]], 1)
    maps = [
        StatefulPlay(game, Alternating(2, first=first), gradient_descent(0.3, 0.2)).matrix()
        for first in ("discriminator", "generator")
    ]
    steps = torch.eye(2).double() + torch.tensor([[[-0.09, -0.3], [0, 0]], [[0, 0], [0.14, -0.04]]]).double()
    generator, critic = steps[0], steps[1] @ steps[1]
    assert_close(maps[0], generator @ critic, rtol=1e-6, atol=1e-8)
    assert_close(maps[1], critic @ generator, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("n", [1, 4])
def test_competitive_gradient_solves_its_system_within_tolerance(n):
    jacobian = random_matrix(2 * n, 2 * n)
    for part in (slice(0, n), slice(n, None)):
        jacobian[part, part] = (jacobian[part, part] + jacobian[part, part].T) / 2
    mixed = jacobian.clone()
    mixed[:n, :n] = mixed[n:, n:] = 0
    rates = torch.tensor([0.3] * n + [0.2] * n, dtype=torch.float64).diag()
    unit = torch.eye(2 * n, dtype=torch.float64)
    exact = unit + torch.linalg.solve(unit - rates @ mixed, rates @ jacobian)
    for tolerance, within in ((1e-6, 1e-5), (1e-14, 1e-12)):
        rule = CompetitiveGradient(tolerance, max_iterations=100)
        play = StatefulPlay(LinearQuadraticGame(jacobian, n), rule, gradient_descent(0.3, 0.2))
        assert_close(play.matrix(), exact, rtol=0, atol=within)
