"""Losses against closed forms."""

from __future__ import annotations

import math
import pickle

import pytest
import torch

from gan_modules import losses
from gan_modules.losses import AdversarialLoss, Hinge, LeastSquares, Minimax, NonSaturating, RelativisticPairing

ALL = [getattr(losses, name)() for name in losses.__all__ if name != "AdversarialLoss"]


def scalar(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64, requires_grad=True)


def slope(loss: AdversarialLoss, logit: float, real: float = 0.0) -> float:
    """The derivative of the generator's loss in a fake logit."""
    fake = scalar(logit)
    (gradient,) = torch.autograd.grad(loss.generator(scalar(real), fake), fake)
    return float(gradient)


@pytest.mark.parametrize("loss", ALL, ids=repr)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 2, 2)])
def test_any_logit_shape_is_a_mean_and_a_scalar(loss: AdversarialLoss, shape: tuple[int, ...]) -> None:
    real, fake = torch.randn(2, *shape)
    for value in (loss.discriminator(real, fake), loss.generator(real, fake)):
        assert value.shape == ()
    twice = loss.discriminator(torch.cat([real, real]), torch.cat([fake, fake]))
    torch.testing.assert_close(twice, loss.discriminator(real, fake))


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_losses_are_values(loss: AdversarialLoss) -> None:
    assert pickle.loads(pickle.dumps(loss)) == loss
    assert hash(loss) == hash(type(loss)())


@pytest.mark.parametrize("loss", ALL, ids=repr)
def test_both_players_pull_apart(loss: AdversarialLoss) -> None:
    """The discriminator lowers fake logits and raises real ones, the generator raises fake ones."""
    real, fake = scalar(0.0), scalar(0.0)
    by_real, by_fake = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    assert by_real <= 0 <= by_fake
    assert by_real < 0 or by_fake > 0
    assert slope(loss, 0.0) < 0


def test_minimax_is_a_zero_sum_game_up_to_the_real_term() -> None:
    real, fake = torch.randn(2, 5, dtype=torch.float64)
    loss = Minimax()
    term = torch.nn.functional.softplus(-real).mean()
    torch.testing.assert_close(loss.generator(None, fake), term - loss.discriminator(real, fake))
    assert loss.discriminator(scalar(0), scalar(0)).item() == pytest.approx(2 * math.log(2))


def test_minimax_has_the_dirac_gan_derivatives() -> None:
    """f(t) = -log(1 + e^-t): f'(0) = 1/2, f''(0) = -1/4."""
    fake = scalar(0.0)
    (first,) = torch.autograd.grad(-Minimax().generator(None, fake), fake, create_graph=True)
    (second,) = torch.autograd.grad(first, fake)
    assert float(first) == pytest.approx(0.5)
    assert abs(float(second)) == pytest.approx(0.25)


def test_the_saturating_gradient_vanishes_under_a_confident_discriminator_and_the_others_do_not() -> None:
    assert abs(slope(Minimax(), -20.0)) < 1e-8
    for loss in ALL:
        if not isinstance(loss, Minimax):
            assert abs(slope(loss, -20.0)) > 0.9, loss


def test_with_the_optimal_discriminator_minimax_is_the_jensen_shannon_divergence() -> None:
    """V = 2 JS - 2 log 2 (Goodfellow et al., 2014, theorem 1), on two discrete distributions."""
    p, q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    optimal = (p / q).log()  # the logit of p / (p + q)
    softplus = torch.nn.functional.softplus
    value = -((p * softplus(-optimal)).sum() + (q * softplus(optimal)).sum())
    middle = (p + q) / 2
    js = 0.5 * (p * (p / middle).log()).sum() + 0.5 * (q * (q / middle).log()).sum()
    torch.testing.assert_close(value, 2 * js - 2 * math.log(2))
    # Monte Carlo is not needed: repeat each point as often as its probability says
    real, fake = (torch.repeat_interleave(optimal, (weights * 10).round().long()) for weights in (p, q))
    torch.testing.assert_close(-Minimax().discriminator(real, fake), value)


def test_hinge_is_flat_beyond_the_margin() -> None:
    real, fake = scalar(1.5), scalar(-1.5)
    value = Hinge().discriminator(real, fake)
    assert float(value) == 0
    assert all(float(g) == 0 for g in torch.autograd.grad(value, (real, fake)))


def test_least_squares_is_zero_at_its_targets() -> None:
    assert float(LeastSquares().discriminator(scalar(1), scalar(0))) == 0
    assert float(LeastSquares().discriminator(scalar(0), scalar(0))) == pytest.approx(0.5)


def test_relativistic_pairing_sees_differences_only() -> None:
    real, fake = torch.randn(2, 4, dtype=torch.float64)
    loss = RelativisticPairing()
    assert loss.generator_needs_real
    torch.testing.assert_close(loss.discriminator(real + 7, fake + 7), loss.discriminator(real, fake))
    torch.testing.assert_close(loss.generator(real, fake), loss.discriminator(fake, real))


def test_non_saturating_shares_its_discriminator_with_minimax() -> None:
    real, fake = torch.randn(2, 4)
    assert torch.equal(NonSaturating().discriminator(real, fake), Minimax().discriminator(real, fake))
