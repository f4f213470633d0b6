"""Arnoldi's method on matrices whose eigenvalues are known."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules.dynamics import arnoldi


def matrix(n=60, seed=0):
    """Random, with a spectrum that decays."""
    numbers = torch.Generator().manual_seed(seed)
    x = torch.randn(n, n, generator=numbers, dtype=torch.float64)
    return x @ torch.diag(torch.logspace(0, -3, n, dtype=torch.float64)) @ torch.linalg.inv(x) + 0.01 * (x - x.T)


def counted(a):
    def apply(w):
        apply.products += 1
        return a @ w

    apply.products = 0
    return apply


def distance(values, exact):
    return (values[:, None] - exact).abs().min(1).values


@pytest.mark.parametrize("seed", range(3))
def test_a_whole_space_gives_all_eigenvalues(seed):
    a = matrix(25, seed)
    found = arnoldi(counted(a), a[0], 40)
    exact = torch.linalg.eigvals(a)
    assert found.products == 25
    assert distance(found.values, exact).max() < 1e-10
    assert distance(exact, found.values).max() < 1e-10
    assert (found.values.abs().diff() <= 1e-12).all()


@pytest.mark.parametrize("power_steps", [0, 5])
def test_residuals_are_those_of_the_vectors(power_steps):
    a, apply = matrix(), None
    apply = counted(a)
    found = arnoldi(apply, a[0], 20, power_steps=power_steps)
    assert found.products == apply.products == 20 + power_steps
    assert_close(found.basis @ found.basis.T, torch.eye(20, dtype=torch.float64), atol=1e-12, rtol=0)
    for i, value in enumerate(found.values):
        y = found.vector(i)
        assert y.norm().item() == pytest.approx(1)
        residual = (a.to(y.dtype) @ y - value * y).norm()
        assert residual.item() == pytest.approx(found.residuals[i].item(), abs=1e-12)


def test_a_good_start_and_power_steps_help():
    a = matrix(200)
    exact = torch.linalg.eigvals(a)
    lead = torch.linalg.eig(a)
    errors = [
        distance(arnoldi(counted(a), a[0], 15, **how).values[:3], exact).max()
        for how in ({}, {"power_steps": 5}, {"start": lead.eigenvectors[:, :6].real.sum(1), "power_steps": 5})
    ]
    assert errors[1] < errors[0]


def test_an_invariant_space_ends_it_early():
    a = torch.zeros(50, 50, dtype=torch.float64)
    a[0, 1], a[1, 0] = -2.0, 2.0
    found = arnoldi(counted(a), a[0], 40)
    assert found.products == 3  # the plane, and all that stands still
    assert_close(found.values.imag.abs(), torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64))
    assert found.converged(1e-8).all()


def test_a_map_to_zero():
    found = arnoldi(torch.zeros_like, torch.ones(9, dtype=torch.float64), power_steps=3)
    assert found.values.tolist() == [0]
    assert found.converged(1e-8).all()


def test_it_is_seeded_and_private():
    a, state = matrix(), torch.random.get_rng_state()
    first, again, other = (arnoldi(counted(a), a[0], 10, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.values, again.values)
    assert not torch.equal(first.basis, other.basis)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_memory_is_the_vectors_that_were_asked_for(dtype):
    a = matrix(300).to(dtype)
    found = arnoldi(counted(a), a[0], 12)
    assert found.basis.shape == (12, 300)
    assert found.basis.dtype == dtype
    assert found.values.dtype == torch.complex128


def test_a_start_inside_an_invariant_space_does_not_hide_the_rest():
    a = torch.diag(torch.arange(1.0, 31.0, dtype=torch.float64))
    start = torch.zeros(30, dtype=torch.float64)
    start[0] = 1.0  # the eigenvector of the smallest
    assert arnoldi(counted(a), start, 25, start=start).values[0].real.item() == pytest.approx(30, abs=1e-6)


def test_mistakes():
    with pytest.raises(ValueError, match="vectors=0"):
        arnoldi(torch.zeros_like, torch.ones(3), 0)
    with pytest.raises(FloatingPointError, match="not finite"):
        arnoldi(lambda w: w / 0, torch.ones(3))
