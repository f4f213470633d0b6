"""Adversarial losses against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from gan_modules.discriminator_pass import Logits
from gan_modules.losses import (
    Bounded,
    Hinge,
    LeastSquares,
    Lipschitz,
    Minimax,
    NonSaturating,
    RelativisticAverage,
    RelativisticPairing,
    Wasserstein,
)

#: those that are functions of the logits alone, whatever their shape
LOSSES = [
    Bounded(),
    Hinge(),
    LeastSquares(),
    Lipschitz(),
    Minimax(),
    NonSaturating(),
    RelativisticAverage(),
    RelativisticPairing(),
    Wasserstein(),
]


def of_discriminator(loss, real, fake):
    return loss.discriminator(Logits(real, fake))


def of_generator(loss, real, fake):
    return loss.generator(Logits(real, fake))


FAR = 60.0  # a logit at which a sigmoid is 0 or 1 in float64

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


def logits(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def derivatives(f, order=2):
    """f', f'', ... at logit 0."""
    t = logits(0.0)
    values = [f(t)]
    for _ in range(order):
        if not values[-1].requires_grad:
            return [v.item() for v in values[1:]] + [0.0] * (order + 1 - len(values))
        values.append(torch.autograd.grad(values[-1].sum(), t, create_graph=True)[0])
    return [v.item() for v in values[1:]]


@every_loss
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 3, 2)])
def test_is_the_mean_over_logits_of_any_shape(loss, shape):
    real, fake = torch.randn(2, *shape, dtype=torch.float64)
    for player in (of_discriminator, of_generator):
        value = player(loss, real, fake)
        assert value.shape == ()
        assert_close(value, player(loss, real.flatten(), fake.flatten()))
        assert_close(value, player(loss, real.repeat_interleave(3, 0), fake.repeat_interleave(3, 0)))


# --- at logit 0: what the Dirac-GAN's Jacobian is made of (Mescheder et al., 2018, Lemma 2.3) -----------------------


@pytest.mark.parametrize(
    ("loss", "f1", "f2"),
    [
        (Minimax(), 0.5, -0.25),
        (NonSaturating(), 0.5, -0.25),
        (RelativisticPairing(), 0.5, -0.25),
        (Bounded(1.0), 1.0, 0.0),
        (Lipschitz(), 1.0, 0.0),
        (Wasserstein(), 1.0, 0.0),
        (Hinge(), 1.0, 0.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_derivatives_at_logit_zero(loss, f1, f2):
    # D descends -f(-t) in the logit of a fake, for f(t) = -log(1 + exp(-t)) or f(t) = t
    zero = torch.zeros(1, dtype=torch.float64)
    assert derivatives(lambda t: of_discriminator(loss, zero, t)) == pytest.approx([f1, -f2])
    assert derivatives(lambda t: of_discriminator(loss, t, zero)) == pytest.approx([-f1, -f2])
    assert derivatives(lambda t: of_generator(loss, zero, t), order=1) == pytest.approx([-f1])


# --- the minimax game -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating()])
def test_undecided_discriminator_pays_two_log_two(loss):
    assert_close(of_discriminator(loss, logits(0.0), logits(0.0)).item(), 2 * math.log(2))


@pytest.mark.parametrize("loss", [Minimax(), Wasserstein()])
def test_is_zero_sum_in_the_fake(loss):
    fake = torch.linspace(-9, 9, 7, dtype=torch.float64)
    real = logits(0.7)
    sums = torch.stack([of_discriminator(loss, real, t) + of_generator(loss, None, t) for t in fake])
    assert_close(sums, sums[:1].expand(7))


def test_optimal_discriminator_makes_minimax_the_jensen_shannon_divergence():
    # Goodfellow et al., 2014, Theorem 1: V = 2 JS(p, q) - 2 log 2 at D = p / (p + q)
    p, q = torch.tensor([[4, 3, 2, 1], [1, 1, 5, 3]])
    points = torch.arange(4)
    optimal = (p / q).double().log().requires_grad_()
    loss = of_discriminator(Minimax(), optimal[points.repeat_interleave(p)], optimal[points.repeat_interleave(q)])
    p, q = p.double() / 10, q.double() / 10
    middle = (p + q) / 2
    js = 0.5 * (p * (p / middle).log()).sum() + 0.5 * (q * (q / middle).log()).sum()
    assert_close(-loss.detach(), 2 * js - 2 * math.log(2))
    (gradient,) = torch.autograd.grad(loss, optimal)
    assert_close(gradient, torch.zeros_like(gradient))


def test_saturating_gradient_vanishes_where_the_discriminator_is_sure_and_the_other_does_not():
    fake = logits(-20.0)
    (saturating,) = torch.autograd.grad(of_generator(Minimax(), None, fake), fake)
    (non_saturating,) = torch.autograd.grad(of_generator(NonSaturating(), None, fake), fake)
    assert -saturating.item() == pytest.approx(math.exp(-20), rel=1e-6)
    assert -non_saturating.item() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("m", "saturating", "non_saturating"), [(1, 0.398, 0.602), (4, 0.137, 3.86), (6, 0.01245, 5.99)]
)
def test_signal_between_separated_gaussians(m, saturating, non_saturating):
    # data N(0, 1), generator N(m, 1), optimal D: logit(x) = log p(x)/q(x) = m^2/2 - m x, held fixed
    levels = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    z = torch.special.ndtri(levels)
    for loss, expected in ((Minimax(), saturating), (NonSaturating(), non_saturating)):
        shift = torch.tensor(float(m), dtype=torch.float64, requires_grad=True)
        of_generator(loss, None, m**2 / 2 - m * (z + shift)).backward()
        assert shift.grad.item() == pytest.approx(expected, rel=5e-3)


@every_loss
def test_stays_finite_at_extreme_logits(loss):
    for real, fake in ((1e4, -1e4), (-1e4, 1e4)):
        real, fake = (torch.tensor([t], requires_grad=True) for t in (real, fake))
        total = of_discriminator(loss, real, fake) + of_generator(loss, real, fake)
        gradients = torch.autograd.grad(total, (real, fake), allow_unused=True)
        assert torch.isfinite(total)
        assert all(torch.isfinite(g).all() for g in gradients if g is not None)


# --- two data points, two generated: the landscape of collapse (Sun, Fang and Schwing, 2020) ------------------------


@pytest.mark.parametrize(
    ("state", "real", "fake", "separable", "paired"),
    [
        ("no match", (FAR, FAR), (-FAR, -FAR), 0.0, 0.0),
        ("one match", (0.0, FAR), (0.0, -FAR), -0.3466, -0.3466),
        ("both on one", (-math.log(2), FAR), (-math.log(2), -math.log(2)), -0.4774, -0.3466),
        ("perfect", (0.0, 0.0), (0.0, 0.0), -0.6931, -0.6931),
    ],
)
def test_pairing_has_no_basin_at_collapse(state, real, fake, separable, paired):
    # logits of the optimal D at (x1, x2) and at (G(z1), G(z2)); the collapsed state is a strict basin without pairing
    real, fake = logits(*real), logits(*fake)
    assert -of_discriminator(Minimax(), real, fake).item() / 2 == pytest.approx(separable, abs=1e-4)
    assert -of_discriminator(RelativisticPairing(), real, fake).item() == pytest.approx(paired, abs=1e-4)


# --- the others -----------------------------------------------------------------------------------------------------


def test_least_squares_optimum_is_the_posterior():
    # Mao et al., 2017: with targets 1 and 0 the optimal D is p / (p + q), the generator's own optimum D(fake) = 1
    p, q = torch.tensor([4, 3, 2, 1]), torch.tensor([1, 1, 5, 3])
    points = torch.arange(4)
    optimal = (p / (p + q)).double().requires_grad_()
    loss = of_discriminator(LeastSquares(), optimal[points.repeat_interleave(p)], optimal[points.repeat_interleave(q)])
    (gradient,) = torch.autograd.grad(loss, optimal)
    assert_close(gradient, torch.zeros_like(gradient))
    p, q = p.double() / 10, q.double() / 10
    assert_close(loss.detach(), 0.5 * (p * q / (p + q)).sum())


def test_least_squares_values():
    loss = LeastSquares()
    assert of_discriminator(loss, logits(1.0), logits(0.0)).item() == 0
    assert of_discriminator(loss, logits(0.0), logits(2.0)).item() == pytest.approx(2.5)
    assert of_generator(loss, None, logits(1.0)).item() == 0
    assert of_generator(loss, None, logits(3.0)).item() == pytest.approx(2.0)


def test_hinge_is_flat_beyond_the_margin_and_has_unit_slope_within():
    real, fake = logits(1.5, 0.9, -3.0), logits(-1.5, -0.9, 3.0)
    value = of_discriminator(Hinge(), real, fake)
    assert value.item() == pytest.approx((0.1 + 4.0) / 3 * 2)
    of_real, of_fake = torch.autograd.grad(value, (real, fake))
    assert_close(3 * of_real, -logits(0.0, 1.0, 1.0).detach())
    assert_close(3 * of_fake, logits(0.0, 1.0, 1.0).detach())
    (of_fake,) = torch.autograd.grad(of_generator(Hinge(), None, fake), fake)
    assert_close(3 * of_fake, -torch.ones(3, dtype=torch.float64))


def test_wasserstein_is_linear_and_gives_the_distance_at_the_optimal_critic():
    x = torch.randn(50, dtype=torch.float64)
    loss = Wasserstein()
    # the optimal 1-Lipschitz critic between x and x + 2.5 is D(x) = -x, up to a constant
    assert_close(-of_discriminator(loss, -x, -(x + 2.5)).item(), 2.5)
    assert_close(of_discriminator(loss, -3 * x + 7, -3 * (x + 2.5) + 7).item(), -3 * 2.5)
    assert_close(of_generator(loss, None, x), -x.mean())


def test_relativistic_pairing_sees_differences_of_pairs_only():
    real, fake = torch.randn(2, 9, dtype=torch.float64)
    loss = RelativisticPairing()
    for player in (of_discriminator, of_generator):
        assert_close(player(loss, real + 11.0, fake + 11.0), player(loss, real, fake))
        assert_close(player(loss, real, real).item(), math.log(2))
        assert abs(player(loss, real, fake) - player(loss, real, fake.roll(1))) > 1e-3
    # the generator's loss is the discriminator's with the sides exchanged
    assert_close(of_generator(loss, real, fake), of_discriminator(loss, fake, real))
    assert_close(of_discriminator(loss, real, fake) - of_generator(loss, real, fake), fake.mean() - real.mean())


def test_relativistic_average_judges_against_the_mean_of_the_other_side():
    loss = RelativisticAverage()
    real, fake = logits(1.0, 3.0), logits(-1.0, 0.0, 1.0)
    # means 2 and 0: real rows stand 1 and 3 above the other mean, fakes 3, 2 and 1 below
    softplus = [math.log1p(math.exp(-t)) for t in (1, 3, 3, 2, 1)]
    expected = sum(softplus[:2]) / 2 + sum(softplus[2:]) / 3
    assert of_discriminator(loss, real, fake).item() == pytest.approx(expected)
    assert_close(of_generator(loss, real, fake), of_discriminator(loss, fake, real))
    assert_close(of_discriminator(loss, real + 11.0, fake + 11.0), of_discriminator(loss, real, fake))
    # the means move with the rows: all together leave the sum over fakes of both parts' slopes
    (gradient,) = torch.autograd.grad(of_discriminator(loss, real, fake), fake)
    sigmoid = [1 / (1 + math.exp(t)) for t in (1, 3, 3, 2, 1)]
    of_means, of_rows = sum(sigmoid[:2]) / 2 / 3, logits(*sigmoid[2:]).detach() / 3
    assert_close(gradient, of_means + of_rows)
