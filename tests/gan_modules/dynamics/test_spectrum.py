"""Leading eigenvalues of a game, against the dense matrix and against ARPACK."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import VARIANTS, make, on_digits
from scipy.sparse.linalg import LinearOperator, eigs
from sklearn.datasets import load_digits
from torch.testing import assert_close

from gan_modules import NSGAN, R3GAN, WGANGP, BilinearGame, HingeGAN, MinimaxGAN
from gan_modules.dynamics import GameJacobian, dense, hessian_block, lanczos, spectrum, times
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator


def error(found, exact, k=5):
    """Largest distance of the found values to the nearest exact one, and of the k largest moduli."""
    exact = exact[exact.abs().argsort(descending=True)]
    nearest = (found.values[:, None] - exact).abs().min(1).values.max()
    moduli = (found.values.abs()[:k] - exact.abs()[:k]).abs().max()
    return float(torch.maximum(nearest, moduli) / exact[0].abs())


@pytest.mark.parametrize("name", VARIANTS)
def test_five_leading_eigenvalues_equal_dense_ones_at_the_start(name, double):
    game, batch = double(name)
    jacobian = GameJacobian(game, batch)
    exact = torch.linalg.eigvals(dense(jacobian).matrix)
    before = jacobian.products
    found = spectrum(jacobian)
    assert found.products == jacobian.products - before <= 45
    assert error(found, exact) < 1e-6


@pytest.mark.parametrize("cls", [NSGAN, HingeGAN, R3GAN])
def test_five_leading_eigenvalues_equal_dense_ones_in_mid_training(cls):
    game, batch = on_digits(cls, width=4, iterations=200)
    jacobian = GameJacobian(game, batch)
    found = spectrum(game, batch)
    assert found.products <= 45
    assert error(found, torch.linalg.eigvals(dense(jacobian).matrix)) < 1e-6


@pytest.mark.parametrize("cls", [MinimaxGAN, WGANGP, R3GAN])
def test_eigenvalues_of_an_image_network_equal_dense_ones(cls):
    torch.manual_seed(0)
    shape = (1, 8, 8)
    game = cls(DCGANGenerator(shape, 4, width=4), DCGANDiscriminator(shape, width=4), ema_decay=0).double()
    images = torch.tensor(load_digits().images[:24]).unsqueeze(1) / 8 - 1
    jacobian = GameJacobian(game, game.game_batch(images))  # with batch norm, whose statistics see the batch
    exact = dense(jacobian).matrix
    found = spectrum(jacobian)
    assert error(found, torch.linalg.eigvals(exact)) < 1e-6
    first = jacobian.sizes[0]
    for player, own in enumerate((slice(0, first), slice(first, None))):
        ends = lanczos(hessian_block(jacobian, player), jacobian.field[player]).values
        block = torch.linalg.eigvalsh(-exact[own, own])
        assert ends.min().item() == pytest.approx(block[0].item(), abs=1e-6 * block.abs().max().item())
        assert ends.max().item() == pytest.approx(block[-1].item(), abs=1e-6 * block.abs().max().item())


@pytest.mark.slow  # two minutes on one core: thousands of columns
@pytest.mark.parametrize("cls", [NSGAN, HingeGAN, R3GAN])
@pytest.mark.parametrize("iterations", [30, 300])
def test_five_leading_eigenvalues_of_three_thousand_parameters(cls, iterations):
    assert_leading(*on_digits(cls, width=16, iterations=iterations, seed=1), 1e-6)


@pytest.mark.slow
def test_a_state_in_which_45_products_do_not_reach_six_digits_says_so():
    assert_leading(*on_digits(NSGAN, width=16, iterations=200, seed=2), 1e-3)


def assert_leading(game, batch, tolerance):
    jacobian = GameJacobian(game, batch)
    assert 2500 < sum(jacobian.sizes) < 3000
    found = spectrum(jacobian)
    assert found.products <= 45
    residual = float(found.residuals.max() / found.values.abs()[0])
    assert error(found, torch.linalg.eigvals(dense(jacobian).matrix)) < min(tolerance, max(residual, 1e-10))


@pytest.mark.parametrize("iterations", [pytest.param(0, marks=pytest.mark.slow), 100])
def test_a_hundred_thousand_parameters_against_arpack(iterations):
    game, batch = on_digits(NSGAN, width=180, iterations=iterations)
    jacobian = GameJacobian(game, batch)
    n = sum(jacobian.sizes)
    assert 80_000 < n < 120_000
    operator = LinearOperator(
        (n, n), lambda w: times(jacobian, torch.from_numpy(np.array(w)).view(-1)).numpy(), dtype=np.float64
    )
    exact = torch.from_numpy(eigs(operator, k=8, which="LM", v0=np.ones(n), return_eigenvectors=False))
    found = spectrum(jacobian)
    assert found.products <= 45
    # at the start nine moduli lie within 4 %: too close for 45 products, which the residuals say
    residual = float((found.residuals / found.values.abs()[0]).max())
    assert error(found, exact) < (1e-6 if iterations else min(1e-4, residual))


def test_residuals_are_true_residuals_on_a_network(double):
    jacobian = GameJacobian(*double("WGANGP"))
    found = spectrum(jacobian, vectors=12)
    for i, value in enumerate(found.values):
        y = found.vector(i)
        image = torch.complex(times(jacobian, y.real), times(jacobian, y.imag))
        assert (image - value * y).norm().item() == pytest.approx(found.residuals[i].item(), rel=1e-6, abs=1e-10)


def test_a_game_in_single_precision(double):
    game, batch = double("NSGAN")
    exact = spectrum(game, batch)
    jacobian = GameJacobian(game.float(), type(batch)(batch.real.float(), batch.z.float(), batch.random, None, None))
    assert_close(spectrum(jacobian).values.abs(), exact.values.abs(), rtol=1e-3, atol=1e-4)


def test_a_game_at_its_equilibrium_has_no_field_to_start_from():
    game = BilinearGame([[3.0, 0.0], [0.0, 2.0]], start=[0.0] * 4)
    assert_close(spectrum(game, game.batch()).values.imag.abs(), torch.tensor([3.0, 3.0, 2.0, 2.0]).double())


def test_mistakes(double):
    game, batch = double("NSGAN")
    with pytest.raises(TypeError, match="need a batch"):
        spectrum(game)
    with pytest.raises(TypeError, match="two players"):
        spectrum(torch.nn.Linear(2, 2), batch)
    game.discriminator.head.linear.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="field is not finite"):
        spectrum(game, batch)


def test_a_game_of_one_player(double):
    game, batch = double("NSGAN")

    class Alone(type(game)):
        players = property(lambda self: (self.generator,))

    alone = make("NSGAN")
    alone.__class__ = Alone
    with pytest.raises(TypeError, match="two players"):
        spectrum(alone, batch)
