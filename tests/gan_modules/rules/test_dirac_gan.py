"""Rules on the Dirac-GAN with the library's losses and penalties, against closed forms.

Mescheder, Geiger and Nowozin (2018): eigenvalues with damping gamma are -gamma/2 +- sqrt(gamma^2/4 - f1^2), f1 the
loss's slope at logit 0. Without damping nothing converges exponentially, and how is known too.
"""

from __future__ import annotations

import pytest
import torch
from rule_recipes import StatefulPlay, gradient_descent
from torch.testing import assert_close

from gan_modules import DiracGAN, HopfGame
from gan_modules.dynamics import Play
from gan_modules.losses import Hinge, Minimax, NonSaturating, RelativisticPairing, Wasserstein
from gan_modules.penalties import R1, R2, WeightClipping
from gan_modules.rules import (
    Alternating,
    Consensus,
    Extragradient,
    Lookahead,
    Optimistic,
    RungeKutta,
    Simultaneous,
    SymplecticAdjustment,
)


def update(game, rule, h):
    return StatefulPlay(game, rule, gradient_descent(h)).matrix()


def radius(game, rule, h):
    return float(torch.linalg.eigvals(update(game, rule, h)).abs().max()) ** (1 / rule.period)


DAMPED = [  # (game with a total damping of gamma, f1)
    pytest.param(lambda gamma: DiracGAN(Minimax(), [R1(gamma)]), 0.5, id="minimax, R1"),
    pytest.param(lambda gamma: DiracGAN(NonSaturating(), [R1(gamma)]), 0.5, id="non-saturating, R1"),
    pytest.param(lambda gamma: DiracGAN(NonSaturating(), [R2(gamma)]), 0.5, id="non-saturating, R2"),
    pytest.param(
        lambda gamma: DiracGAN(RelativisticPairing(), [R1(gamma / 2), R2(gamma / 2)]), 0.5, id="relativistic, both"
    ),
    pytest.param(lambda gamma: DiracGAN(Hinge(), [R1(gamma)]), 1.0, id="hinge, R1"),
    pytest.param(lambda gamma: DiracGAN(Wasserstein(), [R1(gamma)]), 1.0, id="Wasserstein, R1"),
    pytest.param(lambda gamma: DiracGAN(Minimax(), instance_noise=(2 * gamma) ** 0.5), 0.5, id="instance noise"),
]
damped = pytest.mark.parametrize(("make", "f1"), DAMPED)


@damped
@pytest.mark.parametrize("gamma", [0.1, 0.3, 0.9])
def test_simultaneous_with_damping(make, f1, gamma):
    # |1 + h l|^2 = 1 - h gamma + h^2 f1^2 for gamma < 2 f1, so that h* = gamma / f1^2
    game, limit = make(gamma), gamma / f1**2
    assert game.stability_limit(Simultaneous()) == pytest.approx(limit)
    for h in (0.5 * limit, 0.99 * limit, limit, 1.01 * limit):
        found = radius(game, Simultaneous(), h)
        # with noise on the data terms of size 1 cancel to what is left of the displacement
        assert found == pytest.approx((1 - h * gamma + h**2 * f1**2) ** 0.5, abs=1e-8)
        assert h == limit or (found < 1) == (h < limit)


@damped
@pytest.mark.parametrize("gamma", [0.1, 0.3, 0.9])
def test_alternating_with_damping(make, f1, gamma):
    # a flip at h* = (-gamma + sqrt(gamma^2 + 4 f1^2)) / f1^2
    game, limit = make(gamma), (-gamma + (gamma**2 + 4 * f1**2) ** 0.5) / f1**2
    assert game.stability_limit(Alternating()) == pytest.approx(limit)
    for h in (0.3 * limit, 0.99 * limit, limit, 1.01 * limit):
        found = update(game, Alternating(), h)
        generator, critic = torch.tensor([[[1, h * f1], [0, 1]], [[1, 0], [-h * f1, 1 - h * gamma]]]).double()
        assert_close(found, generator @ critic, rtol=0, atol=1e-6)
        moduli = torch.linalg.eigvals(found).abs()
        assert h == limit or (float(moduli.max()) < 1) == (h < limit)
        if h == limit:
            assert float(torch.linalg.eigvals(found).real.min()) == pytest.approx(-1, abs=1e-7)


@pytest.mark.parametrize(("gamma", "alternating"), [(0.3, 2.976), (1.0, 1.657), (2.0, 0.944)], ids=lambda x: str(x))
def test_limits_of_alternating_as_published(gamma, alternating):
    game = DiracGAN(penalties=[R1(gamma)])
    assert game.stability_limit(Alternating()) == pytest.approx(alternating, abs=5e-4)


def test_overdamped_simultaneous_loses_stability_by_a_flip():
    for gamma, limit in ((1.2, 2 / (0.6 + 0.11**0.5)), (2.0, 1.0718)):
        game = DiracGAN(NonSaturating(), [R1(gamma)])
        assert game.stability_limit(Simultaneous()) == pytest.approx(limit, abs=5e-5)
        values = torch.linalg.eigvals(update(game, Simultaneous(), game.stability_limit(Simultaneous())))
        assert float(values.real.min()) == pytest.approx(-1, abs=1e-9)


def test_two_time_scales_have_the_generators_limit():
    game, gamma, f1 = DiracGAN(penalties=[R1(0.3)]), 0.3, 0.5
    for critic in (0.2, 1.0, 2.0):
        for factor in (0.99, 1.01):
            play = StatefulPlay(game, Simultaneous(), gradient_descent(factor * gamma / f1**2, critic))
            assert (float(torch.linalg.eigvals(play.matrix()).abs().max()) < 1) == (factor < 1)


RULES = [  # with R1, gamma = .3: limit, and the best rate at its learning rate; limits cut to two decimals
    (Simultaneous(), 1.20, (0.60, 0.9539)),
    (Alternating(), 2.976, (2.80, 0.400)),
    (Extragradient(), 2.75, (1.90, 0.3905)),
    (Optimistic(), 1.26, (1.00, 0.7071)),
    (SymplecticAdjustment(1.0), 2.56, (1.28, 0.699)),
    (Consensus(1.0), 2.29, (1.15, 0.699)),
    (Lookahead(Simultaneous(), k=5), 1.87, (1.24, 0.435)),
    (RungeKutta(2), 3.29, None),
    (RungeKutta(4), 5.67, None),
]


@pytest.mark.parametrize(("rule", "limit", "best"), RULES, ids=lambda x: repr(x) if hasattr(x, "step") else "")
def test_every_rule_with_r1(rule, limit, best):
    game = DiracGAN(penalties=[R1(0.3)])
    assert radius(game, rule, 0.99 * limit) < 1 < radius(game, rule, 1.01 * limit)
    if best is not None:
        h, rate = best
        # where two roots meet the radius is a square root of the learning rate's rounding
        assert radius(game, rule, h) == pytest.approx(rate, abs=6e-4)
        assert radius(game, rule, 0.9 * h) > rate - 6e-4 < radius(game, rule, 1.1 * h)


def test_consensus_damps_where_nothing_else_does():
    c, f1 = 0.3, 0.5
    game, limit = DiracGAN(), 2 * c / (1 + (c * f1) ** 2)
    assert limit == pytest.approx(0.5868, abs=5e-5)
    assert radius(game, Consensus(c), 0.99 * limit) < 1 < radius(game, Consensus(c), 1.01 * limit)


# --- without damping: never convergent, and how (Mescheder et al., 2018, Lemmas 2.4 and 2.5) --------------------------


def track(game, rule, h, n):
    return torch.stack(list(Play(game, rule, h, lambda k: game.batch(k)).trajectory(n)))


@pytest.mark.parametrize(("h", "rms"), [(0.2, 0.63176), (0.5, 0.9935)])
def test_non_saturating_simultaneous_ends_in_a_limit_cycle(h, rms):
    points = track(DiracGAN(NonSaturating(), theta=0.9 * rms), Simultaneous(), h, 700)
    assert points[-400:].square().sum(1).mean().sqrt().item() == pytest.approx(rms, abs=2e-3)


def test_non_saturating_alternating_spirals_in_slower_than_any_exponential():
    h, n = 0.2, 800
    points = track(DiracGAN(NonSaturating(), theta=1.0), Alternating(), h, n)
    inverse = 1 / points[-60:].square().sum(1).mean()  # 1 / r^2 = 1 / r0^2 + t / 8
    assert inverse.item() == pytest.approx(1 + n * h / 8, rel=0.08)


def test_clipped_critic_cycles_in_its_box():
    game = DiracGAN(Wasserstein(), constraint=WeightClipping(0.3), theta=0.2)
    theta, psi = track(game, Simultaneous(), 0.1, 600)[300:].abs().max(0).values
    assert psi.item() == pytest.approx(0.3)
    assert theta.item() == pytest.approx(0.3248, abs=5e-3)


def test_clipped_critic_is_clipped_whatever_the_rule_moves_it_by():
    for rule in (Optimistic(), Extragradient(), Lookahead(Simultaneous(), k=2), RungeKutta(4)):
        game = DiracGAN(Wasserstein(), constraint=WeightClipping(0.05), theta=1.0)
        assert float(track(game, rule, 0.1, 20)[:, 1].abs().max()) == pytest.approx(0.05)


# --- past the limit of simultaneous steps -----------------------------------------------------------------------------


@pytest.mark.parametrize("h", [0.4, 0.5])
def test_simultaneous_steps_past_a_hopf_bifurcation_end_on_the_circle_of_known_radius(h):
    game = HopfGame(a=0.1, w=1.0, c=1.0)
    *_, end = Play(game, Simultaneous(), h).trajectory(400)
    assert float(end.norm()) == pytest.approx(game.cycle_radius(h), rel=1e-6)
    if h == 0.5:
        assert float(end.norm()) == pytest.approx(0.4098160, abs=5e-8)
