"""Rules on games whose linearised update is known in closed form.

Sources: Gidel et al. (2019) and Zhang and Yu (2020) for the bilinear game; Mescheder, Geiger and Nowozin (2018) for the
Dirac-GAN, whose continuous eigenvalues with R1 are -gamma/2 +- sqrt(gamma^2/4 - f1^2), f1 the loss's slope at logit 0.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from gan_modules import NSGAN, R3GAN, WGAN, GANModule, HingeGAN, MinimaxGAN
from gan_modules.losses import Wasserstein
from gan_modules.penalties import R1, R2
from gan_modules.rules import Alternating, Simultaneous

ORIGIN = torch.zeros(2, dtype=torch.float64)
GAMMAS = [0.1, 0.3, 0.9]


def radius(matrix):
    return torch.linalg.eigvals(matrix).abs().max().item()


# --- the bilinear game ------------------------------------------------------------------------------------------------

H = 0.2
MATRIX = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.5, 3.0]], dtype=torch.float64)
START = torch.tensor([0.3, -1.0, 0.8, 0.1, -0.5], dtype=torch.float64)


def in_singular_directions(x):
    """Norm of (u, v) in each plane of a left and a right singular vector."""
    left, _, right = torch.linalg.svd(MATRIX, full_matrices=False)
    return torch.hypot(x[:2] @ left, right @ x[2:])


@pytest.mark.parametrize("through", ["loop", "trainer"])
def test_simultaneous_expands_each_singular_direction(through, bilinear, loop, fit):
    n = 7
    game = bilinear(MATRIX, START[:2], START[2:], rule=Simultaneous())
    if through == "loop":
        *_, end = loop(game, Simultaneous(), H).iterate(n)
    else:
        del game.manual_backward
        sgd = partial(torch.optim.SGD, lr=H)
        game._optimizer_makers = (sgd, sgd)
        fit(game, n)
        end = torch.cat([game.u.x.detach(), game.v.x.detach()])
    growth = (1 + (H * torch.linalg.svdvals(MATRIX)).square()).sqrt()
    assert_close(in_singular_directions(end), growth**n * in_singular_directions(START))


@pytest.mark.parametrize("s", [0.1, 1.0, 1.9, 1.999])
def test_alternating_has_modulus_one_below_two_and_stays_bounded(s, bilinear, loop):
    run = loop(bilinear([[s]], [0.6], [-0.8]), Alternating(), 1.0)
    assert_close(torch.linalg.eigvals(run.linearised(ORIGIN)).abs(), torch.ones(2, dtype=torch.float64))
    run.point = torch.tensor([0.6, -0.8], dtype=torch.float64)
    # the iteration keeps u^2 + v^2 + s u v, which bounds the norm by (1 + s/2) / (1 - s/2)
    energies = [x.square().sum() + s * x.prod() for x in run.iterate(300)]
    assert_close(torch.stack(energies), energies[0].expand(300))


@pytest.mark.parametrize("s", [2.01, 3.0])
def test_alternating_diverges_above_two(s, bilinear, loop):
    run = loop(bilinear([[s]], [0.6], [-0.8]), Alternating(), 1.0)
    # lambda^2 - (2 - s^2) lambda + 1 = 0
    assert radius(run.linearised(ORIGIN)) == pytest.approx((s**2 - 2 + s * (s**2 - 4) ** 0.5) / 2)


# --- the Dirac-GAN through the library's own losses and penalties -----------------------------------------------------

DAMPED = [  # (variant with a total damping of gamma, f1)
    pytest.param(lambda gamma: (MinimaxGAN, {"penalties": [R1(gamma)]}), 0.5, id="MinimaxGAN+R1"),
    pytest.param(lambda gamma: (NSGAN, {"penalties": [R1(gamma)]}), 0.5, id="NSGAN+R1"),
    pytest.param(lambda gamma: (NSGAN, {"penalties": [R2(gamma)]}), 0.5, id="NSGAN+R2"),
    pytest.param(lambda gamma: (R3GAN, {"gamma": gamma / 2}), 0.5, id="R3GAN"),
    pytest.param(lambda gamma: (HingeGAN, {"penalties": [R1(gamma)]}), 1.0, id="HingeGAN+R1"),
    pytest.param(
        lambda gamma: (GANModule, {"loss": Wasserstein(), "penalties": [R1(gamma)]}), 1.0, id="Wasserstein+R1"
    ),
]
damped = pytest.mark.parametrize(("make", "f1"), DAMPED)


@damped
@pytest.mark.parametrize("gamma", GAMMAS)
def test_simultaneous_with_gradient_penalty(make, f1, gamma, dirac, loop):
    # |1 + h l|^2 = 1 - h gamma + h^2 f1^2 for gamma < 2 f1, so that h* = gamma / f1^2
    cls, kwargs = make(gamma)
    limit = gamma / f1**2
    for h in (0.5 * limit, 0.99 * limit, limit, 1.01 * limit):
        found = radius(loop(dirac(cls, **kwargs), Simultaneous(), h).linearised(ORIGIN))
        assert found == pytest.approx((1 - h * gamma + h**2 * f1**2) ** 0.5, abs=1e-6)
        assert h == limit or (found < 1) == (h < limit)


@damped
@pytest.mark.parametrize("gamma", GAMMAS)
def test_alternating_with_gradient_penalty(make, f1, gamma, dirac, loop):
    # lambda^2 - (2 - h gamma - h^2 f1^2) lambda + 1 - h gamma = 0,
    # which has the root -1, a flip, at h* = (-gamma + sqrt(gamma^2 + 4 f1^2)) / f1^2
    cls, kwargs = make(gamma)
    limit = (-gamma + (gamma**2 + 4 * f1**2) ** 0.5) / f1**2
    for h in (0.3 * limit, 0.99 * limit, limit, 1.01 * limit):
        update = loop(dirac(cls, **kwargs), Alternating(), h).linearised(ORIGIN)
        assert update.trace().item() == pytest.approx(2 - h * gamma - h**2 * f1**2, abs=1e-6)
        assert update.det().item() == pytest.approx(1 - h * gamma, abs=1e-6)
        assert h == limit or (radius(update) < 1) == (h < limit)
        if h == limit:
            assert torch.linalg.eigvals(update).real.min().item() == pytest.approx(-1, abs=1e-5)
        # moving the generator first gives another map, with the same eigenvalues
        steps = torch.tensor([[[1, h * f1], [0, 1]], [[1, 0], [-h * f1, 1 - h * gamma]]], dtype=torch.float64)
        assert_close(update, steps[0] @ steps[1], atol=1e-6, rtol=0)


@pytest.mark.parametrize("gamma", [1.2, 2.0])
def test_overdamped_simultaneous_loses_stability_by_a_flip(gamma, dirac, loop):
    limit = 2 / (gamma / 2 + (gamma**2 / 4 - 0.25) ** 0.5)  # gamma > 2 f1
    update = loop(dirac(NSGAN, penalties=[R1(gamma)]), Simultaneous(), limit).linearised(ORIGIN)
    assert torch.linalg.eigvals(update).real.min().item() == pytest.approx(-1, abs=1e-5)


@pytest.mark.parametrize(("n", "h"), [(2, 0.3), (3, 0.2)])
def test_more_critic_steps_move_the_discriminator_more_often(n, h, dirac, loop):
    gamma, f1 = 0.3, 0.5
    update = loop(dirac(NSGAN, penalties=[R1(gamma)]), Alternating(n), h).linearised(ORIGIN)
    generator, critic = torch.tensor([[[1, h * f1], [0, 1]], [[1, 0], [-h * f1, 1 - h * gamma]]], dtype=torch.float64)
    assert_close(update, generator @ torch.linalg.matrix_power(critic, n), atol=1e-6, rtol=0)


# --- the Dirac-GAN without damping: never convergent, and how (Mescheder et al., 2018, Lemmas 2.4 and 2.5) ------------


def run_from(loop, start, n):
    loop.point = torch.tensor(start, dtype=torch.float64)
    return torch.stack(list(loop.iterate(n)))


def test_non_saturating_simultaneous_ends_in_a_limit_cycle(dirac, loop):
    points = run_from(loop(dirac(NSGAN), Simultaneous(), 0.2), (0.6, 0.0), 700)
    assert points[-400:].square().sum(1).mean().sqrt().item() == pytest.approx(0.63176, abs=2e-3)


def test_non_saturating_alternating_spirals_in_slower_than_any_exponential(dirac, loop):
    h, n = 0.2, 800
    points = run_from(loop(dirac(NSGAN), Alternating(), h), (1.0, 0.0), n)
    inverse = 1 / points[-60:].square().sum(1).mean()  # 1 / r^2 = 1 / r0^2 + t / 8
    assert inverse.item() == pytest.approx(1 + n * h / 8, rel=0.08)


def test_clipped_critic_cycles_in_its_box(dirac, loop):
    points = run_from(loop(dirac(WGAN, clip=0.3), Simultaneous(), 0.1), (0.2, 0.0), 600)
    theta, psi = points[300:].abs().max(0).values
    assert psi.item() == pytest.approx(0.3)
    assert theta.item() == pytest.approx(0.3248, abs=5e-3)
