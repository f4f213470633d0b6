"""Lanczos' method and the spectral density, against dense eigenvalues, ARPACK and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from recipes import on_digits, toy
from scipy.sparse.linalg import LinearOperator, eigsh
from torch.testing import assert_close

from gan_modules import NSGAN, R3GAN
from gan_modules.dynamics import GameJacobian, dense, hessian_block, lanczos, spectral_density
from gan_modules.protocols import DISCRIMINATOR, GENERATOR


def symmetric(n=60, seed=0):
    """Random, with a few large eigenvalues of both signs and a bulk near zero, as a loss has them."""
    q = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)).Q
    values = 0.01 * torch.linspace(-1, 1, n, dtype=torch.float64)
    values[:2], values[-5:] = torch.tensor([-3.0, -1.0]), torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    return q @ values.diag() @ q.T, values


def blocks(jacobian):
    """Both Hessian blocks, dense, from the matrix of all products."""
    first = jacobian.sizes[0]
    matrix = -dense(jacobian).matrix
    return matrix[:first, :first], matrix[first:, first:]


def test_both_ends_of_a_spectrum_and_their_residuals():
    a, values = symmetric()
    found = lanczos(lambda w: a @ w, a[0], 20)
    assert found.products == 20
    assert (found.values.diff() > 0).all()
    assert_close(found.values[:2], values[:2], atol=1e-9, rtol=0)
    assert_close(found.values[-5:], values[-5:], atol=1e-9, rtol=0)
    assert_close(found.basis @ found.basis.T, torch.eye(20, dtype=torch.float64), atol=1e-12, rtol=0)
    assert found.asymmetry < 1e-13
    for i, value in enumerate(found.values):
        y = found.vector(i)
        assert y.norm().item() == pytest.approx(1)
        assert (a @ y - value * y).norm().item() == pytest.approx(float(found.residuals[i]), abs=1e-10)
    assert found.converged(1e-6)[[0, 1, -1]].all()
    assert not found.converged(1e-6).all()


@pytest.mark.parametrize("vectors", [2, 5, 9])
def test_values_never_leave_the_spectrum(vectors):
    a, values = symmetric()
    found = lanczos(lambda w: a @ w, a[0], vectors)
    assert values[0] - 1e-12 <= found.values[0]
    assert found.values[-1] <= values[-1] + 1e-12
    nearest = (found.values[:, None] - values).abs().min(1).values
    assert (nearest <= found.residuals + 1e-12).all()


def test_a_whole_space_and_an_invariant_one():
    a, values = symmetric(20)
    found = lanczos(lambda w: a @ w, a[0], 40)
    assert_close(found.values, values, atol=1e-10, rtol=0)
    assert found.residuals.max() < 1e-10
    low_rank = torch.diag(torch.tensor([2.0, 0, 0, -1.0, 0, 2.0], dtype=torch.float64))
    found = lanczos(lambda w: low_rank @ w, low_rank[0], 6)
    assert found.products == 3  # each of the three eigenvalues once
    assert_close(found.values, torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64), atol=1e-12, rtol=0)


def test_restarts_find_ends_that_converge_slowly_in_as_much_memory():
    values = torch.linspace(-1, 1, 400, dtype=torch.float64) ** 3
    alone, again = (lanczos(lambda w: values * w, values, 24, restarts=restarts) for restarts in (0, 12))
    assert again.products == 24 + 12 * 12
    assert again.basis.shape == (24, 400)
    assert_close(again.basis @ again.basis.T, torch.eye(24, dtype=torch.float64), atol=1e-12, rtol=0)
    ends = [0, 1, -2, -1]
    assert (alone.values[ends] - values[ends]).abs().max() > 1e-3
    assert_close(again.values[ends], values[ends], atol=1e-6, rtol=0)
    for i, value in enumerate(again.values):
        y = again.vector(i)
        assert (values * y - value * y).norm().item() == pytest.approx(float(again.residuals[i]), abs=1e-10)


def test_a_start_gives_its_own_measure():
    a, values = symmetric()
    vectors = torch.linalg.eigh(a).eigenvectors
    found = lanczos(lambda w: a @ w, a[0], 30, start=3 * vectors[:, 0] + 4 * vectors[:, -1])
    assert_close(found.values[found.weights > 1e-6], values[[0, -1]], atol=1e-9, rtol=0)
    assert_close(found.weights[found.weights > 1e-6], torch.tensor([0.36, 0.64], dtype=torch.float64))


def test_a_map_that_is_not_symmetric_says_so():
    a, _ = symmetric()
    skew = torch.triu(0.1 * torch.ones_like(a), 1)
    found = lanczos(lambda w: (a + skew - skew.T) @ w, a[0], 60)
    assert found.asymmetry == pytest.approx(float((skew - skew.T).norm() / (a + skew - skew.T).norm()), rel=1e-6)
    assert_close(found.values, torch.linalg.eigvalsh(a), atol=1e-8, rtol=0)


def test_single_precision_keeps_the_vectors_orthogonal():
    a, values = symmetric()
    found = lanczos(lambda w: a.float() @ w, a[0].float(), 40)
    assert found.basis.dtype == torch.float32
    assert (found.basis @ found.basis.T - torch.eye(40)).abs().max() < 1e-6
    assert_close(found.values[-3:], values[-3:], atol=1e-5, rtol=0)


def test_it_is_seeded_and_private():
    a, state = symmetric()[0], torch.random.get_rng_state()
    first, again, other = (lanczos(lambda w: a @ w, a[0], 9, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.basis, other.basis)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_mistakes():
    with pytest.raises(ValueError, match="vectors=0"):
        lanczos(torch.zeros_like, torch.ones(3), 0)
    with pytest.raises(ValueError, match="vectors=3, restarts=1"):
        lanczos(torch.zeros_like, torch.ones(3), 3, restarts=1)
    with pytest.raises(ValueError, match="start=0"):
        lanczos(torch.zeros_like, torch.ones(3), start=torch.zeros(3))
    with pytest.raises(ValueError, match="probes=0"):
        spectral_density(torch.zeros_like, torch.ones(3), probes=0)
    with pytest.raises(FloatingPointError, match="not finite"):
        lanczos(lambda w: w / 0, torch.ones(3))


# --- density ----------------------------------------------------------------------------------------------------------


def test_moments_are_those_of_the_matrix_within_their_stochastic_error():
    a, values = symmetric(200)
    probes, n = 200, len(values)
    density = spectral_density(lambda w: a @ w, a[0], 12, probes)
    for power in (1, 2, 3):
        f = values**power
        deviation = (2 * f.square().sum() / n**2 / probes).sqrt()
        assert abs(density.moment(power) - float(f.mean())) < 3 * deviation, power
        assert deviation < 0.15 * f.mean().abs(), power
    f = values.abs()
    assert abs(density.moment(1, absolute=True) - float(f.mean())) < 3 * float(
        (2 * f.square().sum() / n**2 / probes).sqrt()
    )
    assert density.weights.sum().item() == pytest.approx(1)


def test_the_mean_density_is_the_dense_one():
    a, values = symmetric(40)
    density = spectral_density(lambda w: a @ w, a[0], 15, 400)
    grid = torch.linspace(-5, 20, 500, dtype=torch.float64)
    width = 0.5
    exact = torch.exp(-((grid[:, None] - values) / width).square() / 2).mean(1) / (width * (2 * torch.pi) ** 0.5)
    found = density.smoothed(grid, width)
    assert float((found - exact).abs().sum() * (grid[1] - grid[0])) < 0.05
    assert float(torch.trapezoid(found, grid)) == pytest.approx(1, abs=1e-3)
    assert density.share(high=-0.5) == pytest.approx(2 / 40, abs=0.01)
    assert density.share(-0.5, 0.5) == pytest.approx(33 / 40, abs=0.02)
    assert density.share(0.5) == pytest.approx(5 / 40, abs=0.015)


@pytest.mark.parametrize("vectors", [10, 11])
def test_a_bulk_on_both_sides_of_zero_is_flat_whether_a_node_is_at_zero_or_not(vectors):
    values = 0.02 * torch.randn(2000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values[:8] = torch.tensor([-1.0, -0.6, -0.3, -0.2, 0.2, 0.3, 0.6, 1.0])
    exact = float(values.abs().mean())
    density = spectral_density(lambda w: values * w, values, vectors, 4)
    assert density.moment(1, absolute=True) == pytest.approx(exact, rel=0.15)
    alone = [lanczos(lambda w: values * w, values, m) for m in (vectors - 1, vectors)]
    means = [float(found.weights @ found.values.abs()) for found in alone]
    assert max(means) / min(means) > 1.2  # what the mean of both evens out
    assert density.share(-0.05, 0.05) == pytest.approx(float((values.abs() < 0.05).double().mean()), abs=0.1)


def test_few_nodes_give_the_first_moments_of_a_probe_exactly():
    a, _ = symmetric()
    full, few = (lanczos(lambda w: a @ w, a[0], m) for m in (60, 4))
    for power in range(8):  # Gauss' quadrature of 4 nodes
        exact = float(full.weights @ full.values**power)
        assert float(few.weights @ few.values**power) == pytest.approx(exact, rel=1e-9), power


# --- the players' Hessians --------------------------------------------------------------------------------------------


def test_the_blocks_of_a_quadratic_game_are_known():
    game = toy("LinearQuadraticGame")
    jacobian = GameJacobian(game, game.batch())
    for player, expected in ((GENERATOR, [0.1, 0.2]), (DISCRIMINATOR, [0.4])):
        like = torch.zeros(jacobian.sizes[player], dtype=torch.float64)
        for given in (jacobian, game.closed_form_jacobian()):
            found = lanczos(hessian_block(given, player), like)
            assert_close(found.values, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", ["NSGAN", "WGANGP", "R3GAN"])
def test_extreme_eigenvalues_equal_dense_ones_at_the_start(name, double):
    jacobian = GameJacobian(*double(name))
    for player, block in enumerate(blocks(jacobian)):
        exact = torch.linalg.eigvalsh((block + block.T) / 2)
        found = lanczos(hessian_block(jacobian, player), block[0], 60)
        assert_close(found.values[[0, -1]], exact[[0, -1]], atol=1e-6, rtol=0)
        assert found.asymmetry < 1e-9


@pytest.mark.parametrize("cls", [NSGAN, R3GAN])
def test_extreme_eigenvalues_equal_dense_ones_in_mid_training(cls):
    jacobian = GameJacobian(*on_digits(cls, width=3, iterations=100))
    for player, block in enumerate(blocks(jacobian)):
        exact = torch.linalg.eigvalsh((block + block.T) / 2)
        found = lanczos(hessian_block(jacobian, player), block[0], 80)
        assert_close(found.values[[0, -1]], exact[[0, -1]], atol=1e-6 * float(exact.abs().max()), rtol=0)


def test_twenty_thousand_parameters_against_arpack():
    jacobian = GameJacobian(*on_digits(NSGAN, width=110, iterations=50))
    for player, n in enumerate(jacobian.sizes):
        assert n > 18_000
        apply = hessian_block(jacobian, player)
        found = lanczos(apply, torch.zeros(n, dtype=torch.float64), 60, restarts=5)
        exact = arpack(apply, n)
        scale = np.abs(exact).max()
        np.testing.assert_allclose(found.values.numpy()[[0, -1]], exact, atol=1e-6 * scale)
        assert found.converged(1e-4)[[0, -1]].all()


def arpack(apply, n):
    """The smallest and the largest eigenvalue."""
    operator = LinearOperator((n, n), matvec=lambda w: apply(torch.from_numpy(w).reshape(-1)).numpy(), dtype=float)
    return np.sort(eigsh(operator, k=2, which="BE", return_eigenvectors=False, tol=1e-9))
