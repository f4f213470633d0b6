"""Verdicts and limits against closed forms, against trajectories, and of the Krylov path against the dense one."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from gan_modules import NSGAN, BilinearGame, DiracGAN, GaussianGAN, HopfGame, LinearQuadraticGame
from gan_modules.dynamics import GameJacobian, MatrixJacobian, Play, Ritz, dense, stability, times
from gan_modules.dynamics.projection import Projection
from gan_modules.dynamics.stability import _Multipliers
from gan_modules.losses import Hinge, LeastSquares, Minimax, NonSaturating, RelativisticPairing, Wasserstein
from gan_modules.penalties import R1, R2
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
)


def at_rest(game):
    """The game at its equilibrium."""
    values = game.equilibrium()
    with torch.no_grad():
        start = 0
        for p in (p for player in game.players for p in player.parameters()):
            p.copy_(values[start : start + p.numel()].view_as(p))
            start += p.numel()
    return game


def judge(game, rule, lr, **kwargs):
    return stability(at_rest(game), game.batch(), rule, lr, **kwargs)


# --- closed forms -----------------------------------------------------------------------------------------------------

LOSSES = [Minimax(), NonSaturating(), Wasserstein(), LeastSquares(), Hinge(), RelativisticPairing()]
DAMPING = {
    "R1": {"penalties": [R1(0.3)]},
    "R2": {"penalties": [R2(0.4)]},
    "both": {"penalties": [R1(0.2), R2(0.1)]},
    "noise": {"instance_noise": 0.5, "penalties": [R1(0.1)]},
}


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("damping", DAMPING)
def test_the_dirac_gan_with_every_loss(loss, damping):
    game = DiracGAN(loss, **DAMPING[damping])
    for rule, lr in ((Simultaneous(), 0.07), (Alternating(), 0.11)):
        limit = game.stability_limit(rule)
        below, above = judge(game, rule, lr), judge(game, rule, 1.01 * limit)
        assert (below.verdict, above.verdict) == ("stable", "unstable")
        assert lr * below.limit == pytest.approx(limit, rel=1e-8)
        assert above.lr_over_limit == pytest.approx(1.01, rel=1e-8)
        complex_pair = bool(game.exponents().imag.any())
        null = int(isinstance(loss, LeastSquares))  # its real and fake targets make D(x) = 0 blind to the generator
        flips = isinstance(rule, Alternating) or not complex_pair
        assert below.kind == ("flip" if flips else "Neimark-Sacker")
        assert abs(below.binding) == pytest.approx(1, abs=1e-8)
        assert below.period == pytest.approx(2 * math.pi / abs(math.atan2(below.binding.imag, below.binding.real)))
        assert below.null == null
        assert below.resolved


def test_an_overdamped_game_flips_and_its_rates_are_the_exponents():
    answer = judge(DiracGAN(penalties=[R1(2.0)]), Simultaneous(), 0.1)
    assert answer.kind == "flip"
    assert answer.binding == pytest.approx(-1)
    assert answer.period == 2
    assert 0.1 * answer.limit == pytest.approx(1.0717968)  # dynamics of the Dirac-GAN, gamma = 2
    roots = [1 + math.sqrt(0.75), 1 - math.sqrt(0.75)]  # of l^2 + 2 l + 1/4, negated
    assert answer.exponents.real.tolist() == pytest.approx([-0.1 * r for r in roots])
    assert answer.rotation == 0
    assert answer.radius == pytest.approx(1 - 0.1 * roots[1])
    assert answer.time_to_converge == pytest.approx(-1 / math.log(answer.radius))


@pytest.mark.parametrize("lr", [1e-4, 0.01, 0.5])
def test_simultaneous_play_of_a_bilinear_game_is_unstable_at_any_rate(lr):
    answer = judge(BilinearGame([[1.0, 0.0], [0.0, 0.3]]), Simultaneous(), lr)
    assert answer.verdict == "unstable at any rate"
    assert answer.limit is None
    assert answer.lr_over_limit == math.inf
    assert answer.radius == pytest.approx(math.hypot(1, lr), rel=1e-12)
    assert answer.rotation == pytest.approx(1)
    assert answer.direction.norm().item() == pytest.approx(1)
    assert answer.direction[[1, 3]].norm().item() == pytest.approx(0, abs=1e-9)  # in the plane of the larger value


def test_alternating_play_of_a_bilinear_game_is_neutral_and_apart():
    game = BilinearGame([[1.0, 0.0], [0.0, 0.3]])
    answer = judge(game, Alternating(), 0.5)
    assert answer.verdict == "neutral"
    assert math.isnan(answer.lr_over_limit)
    assert answer.time_to_converge == math.inf
    assert answer.radius == pytest.approx(1)
    beyond = judge(game, Alternating(), 2.02)
    assert beyond.verdict == "unstable"
    assert 2.02 * beyond.limit == pytest.approx(game.stability_limit(Alternating()))


@pytest.mark.parametrize("rule", [Extragradient(), Optimistic(), RungeKutta(4), NegativeMomentum()], ids=str)
def test_limits_on_the_bilinear_game(rule):
    game = BilinearGame([[1.5, 0.2], [0.0, 0.4]])
    assert 0.1 * judge(game, rule, 0.1).limit == pytest.approx(game.stability_limit(rule), rel=1e-6)


def test_competitive_gradient_has_no_limit():
    answer = judge(BilinearGame([[1.0]]), CompetitiveGradient(), 0.1)
    assert answer.limit == math.inf
    assert answer.lr_over_limit == 0
    assert "too large" in str(answer)


def test_the_hopf_game():
    game = HopfGame()
    answer = judge(game, Simultaneous(), 0.1)
    assert 0.1 * answer.limit == pytest.approx(0.2 / 1.01)
    assert answer.kind == "Neimark-Sacker"
    h = 0.2 / 1.01
    assert answer.period == pytest.approx(2 * math.pi / math.atan2(h, 1 - 0.1 * h))
    assert judge(HopfGame(a=-0.1), Simultaneous(), 0.1).verdict == "unstable at any rate"


def test_directions_that_stand_still_are_told_apart():
    for d, null in ((2, 2), (3, 6)):
        mean = [0.5] * d
        game = GaussianGAN(mean, torch.diag(torch.linspace(0.5, 1.5, d, dtype=torch.float64)))
        answer = judge(game, Simultaneous(), 0.01)
        assert answer.null == null  # rotations of L, and the antisymmetric part of W: d (d - 1) / 2 each
        assert answer.verdict == "stable"
        assert 0.01 * answer.limit == pytest.approx(game.stability_limit(Simultaneous()), rel=1e-7)


def random_game(n, seed, undamped=0.1):
    """A stable game of n numbers with a random coupling."""
    numbers = torch.Generator().manual_seed(seed)
    k = n // 2
    a, p = (torch.randn(k, k, generator=numbers, dtype=torch.float64) / k**0.5 for _ in range(2))
    jacobian = torch.zeros(n, n, dtype=torch.float64)
    jacobian[:k, k:], jacobian[k:, :k] = -a, a.T
    jacobian[k:, k:] = -p @ p.T - 0.05 * torch.eye(k)
    jacobian[:k, :k] = -undamped * torch.eye(k)
    return LinearQuadraticGame(jacobian, k)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [2, 7, 20])
def test_random_linear_quadratic_games(n, seed):
    game = random_game(n - n % 2, seed)
    answer = judge(game, Simultaneous(), 0.01)
    assert answer.verdict == "stable"
    assert 0.01 * answer.limit == pytest.approx(game.stability_limit(Simultaneous()), rel=1e-7)


def test_a_displacement_shrinks_by_the_radius():
    game = random_game(6, 1)
    rule, lr = Alternating(), 0.3
    answer = judge(game, rule, lr)
    play = Play(game, rule, lr)
    play.position = torch.ones(6, dtype=torch.float64)
    sizes = [float(x.norm()) for x in play.trajectory(1200)]
    rate = (math.log(sizes[1200]) - math.log(sizes[600])) / 600
    assert rate == pytest.approx(math.log(answer.radius), rel=0.02)


def test_a_step_that_ends_it_at_once():
    game = LinearQuadraticGame([[-1.0, 0.0], [0.0, -1.0]], 1)
    answer = judge(game, Simultaneous(), 1.0)
    assert answer.verdict == "stable"
    assert answer.radius == 0
    assert answer.time_to_converge == 0
    assert answer.limit == pytest.approx(2)
    assert answer.kind == "flip"


def test_nothing_moves():
    answer = judge(LinearQuadraticGame(torch.zeros(4, 4), 2), Simultaneous(), 0.1)
    assert (answer.verdict, answer.null, answer.rotation) == ("neutral", 4, 0)


def test_players_with_rates_of_their_own():
    game = DiracGAN(penalties=[R1(0.3)])
    # two time scales: h_G* = gamma / f1^2 whatever h_D, and both are scaled here
    for other in (0.1, 0.4):
        answer = judge(game, Simultaneous(), (0.5, other))
        assert 0.5 * answer.limit == pytest.approx(1.2, rel=1e-7)


def test_a_slow_undamped_plane_beside_a_fast_damped_one():
    jacobian = torch.tensor(
        [[-1.0, 0.0, 0, 0], [0.0, 0, 0, -1e-4], [0, 0, -1.0, 0], [0, 1e-4, 0, 0]], dtype=torch.float64
    )
    answer = judge(LinearQuadraticGame(jacobian, 2), Simultaneous(), 1.0)
    assert answer.verdict == "unstable at any rate"


def test_extragradient_is_stable_at_high_rates_where_low_ones_diverge():
    game = LinearQuadraticGame([[0.1, -1.0], [1.0, 0.1]], 1)
    # 1 + z + z^2 at z = h (.1 + i) is inside the unit circle in a window of h
    low, inside = judge(game, Extragradient(), 0.01), judge(game, Extragradient(), 0.5)
    assert inside.verdict == "stable"
    assert low.verdict == "unstable"
    assert 0.01 * low.limit == pytest.approx(0.5 * inside.limit, rel=1e-6)


# --- the Krylov path --------------------------------------------------------------------------------------------------


def decaying_game(n):
    """Couplings that decay over three decades, as those of networks do, and a discriminator that is damped."""
    numbers = torch.Generator().manual_seed(0)
    k = n // 2
    strength = torch.logspace(0, -3, k, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(k, k, generator=numbers, dtype=torch.float64)).Q
    jacobian = torch.zeros(n, n, dtype=torch.float64)
    jacobian[:k, k:], jacobian[k:, :k] = -rotation * strength, (rotation * strength).T
    jacobian[k:, k:] = -torch.diag(strength) / 2
    return LinearQuadraticGame(jacobian, k)


def test_moduli_that_are_all_alike_are_unresolved_and_the_limit_is_found():
    game = at_rest(random_game(60, 0))  # all moduli alike: 40 vectors do not tell them apart
    whole = stability(game, game.batch(), Simultaneous(), 0.1, dense_size=1000)
    part = stability(game, game.batch(), Simultaneous(), 0.1, dense_size=0)
    assert part.verdict == "stable"
    assert part.limit == pytest.approx(whole.limit, rel=0.01)
    assert not part.resolved


@pytest.mark.parametrize(
    "rule",
    [Simultaneous(), Alternating(), Extragradient(), Optimistic(), Consensus(0.3), NegativeMomentum()],
    ids=lambda rule: type(rule).__name__,
)
def test_krylov_spaces_find_the_verdict_and_the_limit(rule):
    game = at_rest(decaying_game(60))
    whole = stability(game, game.batch(), rule, 0.2, dense_size=1000)
    part = stability(game, game.batch(), rule, 0.2, dense_size=0)
    assert part.verdict == whole.verdict == "stable"
    assert part.limit == pytest.approx(whole.limit, rel=0.01)
    assert part.kind == whole.kind
    assert whole.resolved
    assert not part.resolved
    assert "unresolved" in str(part)


def same(part, whole):
    """Whether two answers agree as far as a user acts on them."""
    assert part.verdict == whole.verdict
    assert part.kind == whole.kind
    if whole.limit is not None:
        assert part.limit == pytest.approx(whole.limit, rel=0.01)


@pytest.mark.parametrize(
    "rule",
    [Simultaneous(), Alternating(2), Extragradient(), Optimistic(), NegativeMomentum(), Lookahead(Simultaneous(), 3)],
    ids=lambda rule: type(rule).__name__,
)
def test_one_krylov_space_gives_verdict_and_limit_of_every_rate_in_as_many_products_as_it_has_vectors(rule):
    game = at_rest(decaying_game(60))
    whole = stability(game, game.batch(), rule, 0.2, dense_size=1000)
    part = stability(game, game.batch(), rule, 0.2, dense_size=0, thorough=False, vectors=24)
    same(part, whole)
    assert part.products == 24
    assert not part.resolved


def test_a_rule_with_transposed_products_is_judged_thoroughly():
    game = at_rest(decaying_game(60))
    whole = stability(game, game.batch(), Consensus(0.3), 0.2, dense_size=1000)
    part = stability(game, game.batch(), Consensus(0.3), 0.2, dense_size=0, thorough=False, vectors=30)
    same(part, whole)
    assert part.products > 60


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(), Extragradient()], ids=lambda rule: type(rule).__name__)
def test_residuals_in_one_space_bound_the_true_ones(rule):
    game = at_rest(random_game(60, 1))
    operator = rule.operator(game.closed_form_jacobian(), Play(game, rule, 0.2).optimizers)
    found = Projection(operator, 12).displacements(1.0)
    step = operator.dense() - torch.eye(60, dtype=torch.float64)
    for i, value in enumerate(found.values):
        y = found.vector(i)
        y = y / y.norm()
        true = (step.to(y.dtype) @ y - value * y).norm().item()
        # to first order in what leaves the space: exact for one gradient, near that for rules of two
        assert true <= 1.1 * found.residuals[i].item() + 1e-12
        if isinstance(rule, Simultaneous):
            assert true == pytest.approx(found.residuals[i].item(), rel=1e-6, abs=1e-10)


@pytest.mark.slow  # dense operators of hundreds of numbers: minutes
@pytest.mark.parametrize("n", [120, 300])
@pytest.mark.parametrize(
    "rule", [Simultaneous(), Alternating(), Extragradient(), Lookahead(Simultaneous(), 5)], ids=str
)
def test_krylov_spaces_on_larger_games(rule, n):
    game = at_rest(decaying_game(n))
    whole = stability(game, game.batch(), rule, 0.2, dense_size=1000)
    part = stability(game, game.batch(), rule, 0.2, dense_size=0)
    assert part.verdict == whole.verdict
    assert part.limit == pytest.approx(whole.limit, rel=0.01)


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(), Consensus(0.1)], ids=lambda rule: type(rule).__name__)
def test_krylov_spaces_find_growth_at_any_rate(rule):
    jacobian = random_game(80, 2).closed_form_jacobian().matrix.clone()
    jacobian[0, 0] = 3.0
    game = at_rest(LinearQuadraticGame(jacobian, 40))
    for dense_size, thorough in ((0, True), (0, False), (1000, True)):
        answer = stability(game, game.batch(), rule, 0.01, dense_size=dense_size, thorough=thorough)
        assert answer.verdict == "unstable at any rate"
        d = answer.direction
        image = jacobian @ d
        growth = d @ image
        assert growth > 2
        assert (image - growth * d).norm() < (1e-4 if rule == Simultaneous() else 0.3) * growth


def test_a_small_step_in_single_precision_is_not_taken_for_neutral():
    game = random_game(80, 3).closed_form_jacobian()
    single = MatrixJacobian(game.matrix.float(), game.sizes)
    lr = 1e-5  # multipliers differ from 1 by less than the square root of float32's precision
    answer = stability(single, rule=Simultaneous(), lr=lr, dense_size=0)
    exact = stability(game, rule=Simultaneous(), lr=lr, dense_size=1000)
    assert answer.verdict == exact.verdict == "stable"
    assert answer.limit == pytest.approx(exact.limit, rel=0.01)


def test_a_network_in_mid_training_grows_along_the_direction_that_is_told():
    images = torch.tensor(load_digits().images).view(-1, 64) / 8 - 1
    torch.manual_seed(0)

    class Tanh(nn.Sequential):
        latent_dim = 4

    generator = Tanh(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 64), nn.Tanh())
    discriminator = nn.Sequential(nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 1))
    game = NSGAN(generator, discriminator, ema_decay=0).double()
    batch = game.game_batch(images[:64])
    play = Play(game, Alternating(), (partial(torch.optim.Adam, lr=2e-3, betas=(0.0, 0.9)),) * 2, lambda k: batch)
    for _ in range(150):
        play.step()
    jacobian = GameJacobian(game, batch)
    answer = stability(jacobian, rule=Simultaneous(), lr=1e-3)
    assert answer.verdict == "unstable at any rate"
    assert answer.limit is None
    growth = (answer.radius - 1) / 1e-3
    values = torch.linalg.eigvals(dense(jacobian).matrix)
    assert growth == pytest.approx(values.real.max().item(), rel=0.05)  # of dense eigenvalues, sunk in faster ones
    if abs(answer.binding.imag) < 1e-12:
        d = answer.direction
        assert (times(jacobian, d) - growth * d).norm() < 0.01 * growth
    assert "lower rates only slow it" in str(answer)


# --- optimizers with memory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta1", [0.0, 0.5, 0.9])
def test_adam_converges_below_its_limit_and_diverges_above(beta1):
    """With amsgrad after one large gradient the second moments are constant, and Adam is linear."""
    game = DiracGAN(Wasserstein(), penalties=[R1(1.0)])
    adam = partial(torch.optim.Adam, lr=1e-3, betas=(beta1, 0.999), eps=1e-12, amsgrad=True)

    def playing(factor):
        play = Play(at_rest(game), Simultaneous(), (adam, adam), lambda k: game.batch())
        for optimizer, scale in zip(play.optimizers, (1.0, 0.7), strict=True):
            (parameter,) = optimizer.param_groups[0]["params"]
            optimizer.state[parameter] = {
                "step": torch.tensor(1e6),  # bias corrections are over
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
                "max_exp_avg_sq": torch.full_like(parameter, scale**2),
            }
            optimizer.param_groups[0]["lr"] *= factor
        return play

    limit = stability(game, game.batch(), Simultaneous(), optimizers=playing(1).optimizers).limit
    for side, grows in ((0.98, False), (1.02, True)):
        play = playing(side * limit)
        answer = stability(game, game.batch(), Simultaneous(), optimizers=play.optimizers)
        assert answer.verdict == ("unstable" if grows else "stable")
        play.position = torch.tensor([1e-8, 0.0], dtype=torch.float64)  # stays where the moments do not notice
        n = min(800, int(10 / abs(math.log(answer.radius))))
        sizes = torch.stack([x.norm() for x in play.trajectory(n)])
        assert sizes.max() < 1e-2
        early, late = sizes[n // 4 : n // 2].max(), sizes[3 * n // 4 :].max()
        assert (late > early) == grows, (early, late)
        assert (late / early).log().item() / (n / 2) == pytest.approx(math.log(answer.radius), rel=0.2)


def test_adam_that_has_not_stepped():
    game = DiracGAN()
    optimizers = [torch.optim.Adam(player.parameters()) for player in game.players]
    with pytest.raises(ValueError, match="has not stepped"):
        stability(game, game.batch(), optimizers=optimizers)


# --- words and mistakes -----------------------------------------------------------------------------------------------


def test_it_reads_as_a_sentence():
    stable = str(judge(DiracGAN(penalties=[R1(0.3)]), Simultaneous(), 0.3))
    assert stable.startswith("stable: a displacement shrinks by 0.9656603958")
    assert "the largest stable learning rate is 4 times the present one" in stable
    assert "a cycle of 10.3 iterations sets in (Neimark-Sacker)" in stable
    assert "grows by" in str(judge(DiracGAN(penalties=[R1(0.3)]), Simultaneous(), 1.3))
    assert str(judge(BilinearGame([[1.0]]), Alternating(), 0.1)).startswith("neutral")
    assert "2 directions stand still" in str(judge(GaussianGAN(), Simultaneous(), 0.01))


def test_the_rule_of_the_game_is_the_default():
    game = at_rest(DiracGAN(penalties=[R1(0.3)], rule=Extragradient()))
    assert 0.1 * stability(game, game.batch(), lr=0.1).limit == pytest.approx(2.7587, abs=1e-3)


def test_mistakes():
    game = DiracGAN()
    sgd = [torch.optim.SGD(player.parameters(), lr=0.1) for player in game.players]
    with pytest.raises(ValueError, match="either lr"):
        stability(game, game.batch())
    with pytest.raises(ValueError, match="either lr"):
        stability(game, game.batch(), lr=0.1, optimizers=sgd)
    for lr in (0.0, -1.0, math.nan, (0.1, 0.0)):
        with pytest.raises(ValueError, match="a positive learning rate"):
            stability(game, game.batch(), lr=lr)
    with pytest.raises(TypeError, match="batch"):
        stability(game, lr=0.1)
    with pytest.raises(TypeError, match="no update rule"):
        stability(game.closed_form_jacobian(), lr=0.1)
    with pytest.raises(TypeError, match="two players"):
        stability(nn.Linear(1, 1), game.batch(), lr=0.1)
    with torch.no_grad():
        game.discriminator.psi.fill_(math.nan)
    for dense_size in (0, 100):
        with pytest.raises(FloatingPointError, match="not finite"):
            stability(game, game.batch(), lr=0.1, dense_size=dense_size)


@pytest.mark.parametrize("lr", [0.01, 0.1, 0.5])
def test_growth_of_fourth_order_is_no_stability_at_small_rates(lr):
    # Heun on a circle grows by sqrt(1 + s^4 / 4), which rounding hides below s = 1e-3
    game = BilinearGame([[1.0]])
    answer = stability(game, game.batch(), RungeKutta(2), lr)
    assert answer.verdict == "unstable at any rate"
    assert answer.limit is None


@pytest.mark.parametrize(("residual", "verdict"), [(0.05, "unresolved"), (0.6, "stable")])
def test_no_stability_is_told_where_a_growing_motion_is_in_sight(residual, verdict):
    displacements = torch.tensor([0.5 + 0j, -0.3 + 0.2j, -0.3 - 0.2j], dtype=torch.complex128)
    residuals = torch.tensor([residual, 1e-12, 1e-12], dtype=torch.float64)
    eye = torch.eye(3, dtype=torch.float64)
    found = Ritz(displacements, residuals, 3, eye, eye.to(torch.complex128))
    assert _Multipliers(found, 1e-16).verdict() == verdict


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(), Extragradient(), RungeKutta(2)], ids=repr)
@pytest.mark.parametrize(("growth", "lr"), [(1e-4, 1e-4), (1e-9, 0.1), (0.3, 3.0)])
def test_a_slow_drift_has_no_limit_at_rates_where_rounding_hides_it(rule, growth, lr):
    drift = MatrixJacobian(torch.tensor([[growth, 0.0], [0.0, -1.0]], dtype=torch.float64), (1, 1))
    answer = stability(drift, rule=rule, lr=lr)
    assert answer.verdict == "unstable at any rate"
    assert answer.limit is None


@pytest.mark.parametrize("lr", [0.001, 0.3])
def test_a_window_of_stable_rates_is_found_above_the_present_one(lr):
    # an unstable spiral: extragradient contracts rotation at second order in the rate, past the drift's first
    spiral = MatrixJacobian(torch.tensor([[0.01, -1.0], [1.0, 0.01]], dtype=torch.float64), (1, 1))
    answer = stability(spiral, rule=Extragradient(), lr=lr)
    assert lr * answer.limit == pytest.approx(0.97954, rel=1e-4)


@pytest.mark.parametrize("lr", [[0.1, 0.2], (0.1, 0.2)])
def test_rates_are_one_or_a_pair(lr):
    game = BilinearGame([[1.0]])
    assert stability(game, game.batch(), Extragradient(), lr).verdict == "stable"
    for wrong in ((0.1, 0.2, 0.3), [0.1], -1.0, [0.1, 0.0]):
        with pytest.raises(ValueError, match="a positive learning rate, or a pair"):
            stability(game, game.batch(), Extragradient(), wrong)


def test_the_cost_of_a_look_at_a_large_game_that_no_rate_stabilises_is_bounded():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(300, 300, generator=generator, dtype=torch.float64) / 300**0.5
    answer = stability(MatrixJacobian(matrix, (150, 150)), rule=Alternating(), lr=0.1)
    assert answer.verdict in ("unstable at any rate", "unresolved")
    assert answer.products <= 900
