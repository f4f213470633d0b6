"""Rules against the formulas of their papers, on games whose players' interests are neither equal nor opposed.

The operator is a rule's own step, so that both could be wrong alike; here the step is written down a second time.
"""

from __future__ import annotations

import math

import pytest
import torch
from rule_recipes import StatefulPlay, gradient_descent
from torch.autograd import grad
from torch.testing import assert_close

from gan_modules import GaussianGAN, HopfGame, LinearQuadraticGame
from gan_modules.dynamics import Play
from gan_modules.rules import Consensus, Extragradient, RungeKutta, Simultaneous, SymplecticAdjustment, Unrolled

H = 0.2
UNIT = torch.eye(3, dtype=torch.float64)
J = torch.tensor([[-0.3, 0.1, 0.9], [0.1, 0.2, -0.4], [0.7, 0.5, -0.6]], dtype=torch.float64)


def exponential(order):
    return sum(torch.linalg.matrix_power(H * J, k) / math.factorial(k) for k in range(order + 1))


@pytest.mark.parametrize(
    ("rule", "matrix"),
    [
        (Simultaneous(), UNIT + H * J),
        (Extragradient(), UNIT + H * J @ (UNIT + H * J)),
        (Consensus(0.4), UNIT + H * (J - 0.4 * J.T @ J)),
        (SymplecticAdjustment(0.4), UNIT + H * (J - 0.4 * (J.T - J) / 2 @ J)),
        (RungeKutta(2), exponential(2)),
        (RungeKutta(3), exponential(3)),
        (RungeKutta(4), exponential(4)),
    ],
    ids=lambda x: repr(x) if not isinstance(x, torch.Tensor) else "",
)
def test_linear_game(rule, matrix):
    play = StatefulPlay(LinearQuadraticGame(J, 2), rule, gradient_descent(H))
    assert_close(play.matrix(), matrix, rtol=0, atol=1e-12)


def test_alignment_turns_away_from_unstable_points():
    # at a source that turns, <v, J^T v> <A^T xi, J^T v> < 0 lets lambda change its sign where v is large
    jacobian = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    x = torch.tensor([3.0, 0.0], dtype=torch.float64)
    adjustment = (jacobian.T - jacobian) / 2 @ jacobian @ x
    for align, sign in ((True, -1), (False, 1)):
        game = LinearQuadraticGame(jacobian, 1, start=x)
        play = Play(game, SymplecticAdjustment(0.5, align=align), 0.1)
        play.step()
        assert_close(play.position, x + 0.1 * (jacobian @ x - sign * 0.5 * adjustment))


@pytest.mark.parametrize("game", [HopfGame(0.3, start=(0.9, -0.7)), GaussianGAN()], ids=["hopf", "gaussian"])
@pytest.mark.parametrize("k", [1, 3])
def test_unrolled_differentiates_through_its_steps(k, game):
    with torch.no_grad():
        game.second.x += 0.3
    u, v = (p.x.detach().clone().requires_grad_() for p in game.players)
    phi = v
    for _ in range(k):
        phi = phi - 0.15 * grad(game.loss(1, u, phi), phi, create_graph=True)[0]
    objective = game.loss(0, u, phi.detach()) - game.loss(1, u.detach(), phi)
    expected = torch.cat([*grad(objective, u), *grad(game.loss(1, u.detach(), v), v)])
    play = Play(game, Unrolled(k, lr=0.15), 0.1)
    before = play.position
    play.step()
    assert_close((before - play.position) / 0.1, expected)
