"""The Dirac-GAN: which methods converge, and to what (Mescheder, Geiger and Nowozin, 2018)."""

from __future__ import annotations

import cmath

import pytest
import torch
from torch.testing import assert_close

from gan_modules import DiracGAN
from gan_modules.augmentation import InstanceNoise
from gan_modules.dirac_gan import normal_nodes
from gan_modules.dynamics import GameJacobian, Play, dense
from gan_modules.losses import (
    FisherBall,
    Hinge,
    KernelBall,
    MeanFeatures,
    Minimax,
    NonSaturating,
    RelativisticPairing,
    Wasserstein,
)
from gan_modules.penalties import R1, R2, GradientPenalty, WeightClipping
from gan_modules.rules import Alternating, Extragradient, Simultaneous


def run(game, rule, lr, n):
    return torch.stack(list(Play(game, rule, lr, lambda k: game.batch(k)).trajectory(n)))


@pytest.mark.parametrize(
    ("loss", "f"),
    [(Minimax(), 0.5), (NonSaturating(), 0.5), (Wasserstein(), 1), (Hinge(), 1), (RelativisticPairing(), 0.5)],
)
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_eigenvalues(loss, f, gamma):
    game = DiracGAN(loss, penalties=[R1(0.75 * gamma), R2(0.25 * gamma)])
    root = cmath.sqrt(gamma**2 / 4 - f**2)
    expected = sorted([-gamma / 2 + root, -gamma / 2 - root], key=lambda x: (x.real, x.imag))
    found = sorted(map(complex, game.exponents()), key=lambda x: (round(x.real, 9), x.imag))
    assert found == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating(), RelativisticPairing(), Wasserstein()], ids=str)
def test_instance_noise_damps_as_measured(loss):
    game = DiracGAN(loss, instance_noise=0.7, theta=0.0)
    assert_close(dense(GameJacobian(game, game.batch())).matrix, game.closed_form_jacobian().matrix, atol=1e-12, rtol=0)
    expected = 0.0 if isinstance(loss, Wasserstein) else 0.7**2 / 2
    assert game.damping() == pytest.approx(expected)


def test_noise_has_the_moments_of_a_normal_distribution():
    nodes = normal_nodes(8)
    assert nodes.mean().item() == pytest.approx(0, abs=1e-15)
    assert nodes.square().mean().item() == pytest.approx(1)


@pytest.mark.parametrize(("lr", "radius"), [(0.1, 0.44709), (0.2, 0.63176), (0.5, 0.9935)])
def test_the_non_saturating_gan_ends_in_a_limit_cycle(lr, radius):
    points = run(DiracGAN(NonSaturating(), theta=radius), Simultaneous(), lr, int(60 / lr))
    assert points[-int(30 / lr) :].square().sum(1).mean().sqrt().item() == pytest.approx(radius, rel=0.02)


@pytest.mark.parametrize(("loss", "f"), [(Minimax(), 0.5), (Wasserstein(), 1.0)])
def test_undamped_gans_spiral_outward(loss, f):
    points = run(DiracGAN(loss, theta=1e-4), Simultaneous(), 0.1, 100)
    assert (points[-1].norm() / points[0].norm()).item() == pytest.approx((1 + (0.1 * f) ** 2) ** 50, rel=1e-5)


def test_a_clipped_critic_cycles_in_its_box():
    game = DiracGAN(Wasserstein(), constraint=WeightClipping(0.3), theta=0.2)
    theta, psi = run(game, Simultaneous(), 0.1, 600)[300:].abs().max(0).values
    assert psi.item() == pytest.approx(0.3)
    assert theta.item() == pytest.approx(0.3248, abs=5e-3)


@pytest.mark.parametrize(("rule", "limit"), [(Simultaneous(), 1.2), (Alternating(), 2.976), (Extragradient(), 2.7587)])
def test_damped_gans_converge_up_to_their_limit(rule, limit):
    for side in (0.95, 1.05):
        points = run(DiracGAN(penalties=[R1(0.3)], theta=1e-3), rule, side * limit, 300)
        assert (points[-1].norm() < points[0].norm()) == (side < 1)


def test_any_rows_are_the_data_at_zero():
    game = DiracGAN(instance_noise=1.0)
    batch = game.game_batch(torch.ones(3, 1), iteration=5, draw=0)
    assert batch.real.shape == (64, 1)
    assert batch.real.mean().item() == pytest.approx(0, abs=1e-12)
    assert (batch.index, game.game_batch(torch.ones(3, 1)).index) == (5, None)


def test_mistakes():
    with pytest.raises(ValueError, match="at least 0"):
        DiracGAN(instance_noise=-1.0)
    with pytest.raises(NotImplementedError, match="GradientPenalty"):
        DiracGAN(penalties=[GradientPenalty()]).damping()
    with pytest.raises(NotImplementedError, match="no closed form"):
        DiracGAN().stability_limit(Extragradient())


def test_batches_of_iterations_differ_in_their_random_numbers():
    game = DiracGAN()
    numbers = [game.game_batch(torch.zeros(1, 1), iteration=k, draw=0).random.normal("x") for k in range(3)]
    assert len({float(n) for n in numbers}) == 3


@pytest.mark.parametrize(
    "given",
    [
        {"augmentation": [InstanceNoise(0.5)]},
        {"constraint": WeightClipping(0.1)},
        {"loss": FisherBall()},
        {"loss": KernelBall()},
        {"loss": MeanFeatures(constraint=None)},
    ],
    ids=str,
)
def test_no_closed_form_is_made_up_for_parts_that_have_none(given):
    with pytest.raises(NotImplementedError, match="no closed form with"):
        DiracGAN(**given).closed_form_jacobian()
