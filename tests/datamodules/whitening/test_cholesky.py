"""Cholesky whitening against LAPACK's factor and against regressions."""

from __future__ import annotations

import pytest
import torch
from sklearn.covariance import OAS

from datamodules.whitening import CholeskyWhitening
from datamodules.whitening.cholesky import BLOCK


def correlated(n=400, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing + 2


@pytest.mark.parametrize("d", [1, 6, BLOCK, 2 * BLOCK + 5])
def test_the_map_is_the_inverse_of_the_triangular_factor(d):
    x = correlated(d=d)
    whitening = CholeskyWhitening().fit([x])
    expected = torch.linalg.cholesky(x.T.cov().reshape(d, d))
    assert torch.allclose(whitening.factor, expected, rtol=0, atol=1e-9)
    y = whitening(x)
    assert torch.allclose(y.T.cov().reshape(d, d), torch.eye(d).double(), rtol=0, atol=1e-9)
    assert y.mean(0).abs().max() < 1e-9


def test_a_coordinate_becomes_what_the_earlier_ones_do_not_tell():
    x = correlated()
    y, centred = CholeskyWhitening().fit([x])(x), x - x.mean(0)
    residual = centred[:, 3] - centred[:, :3] @ torch.linalg.lstsq(centred[:, :3], centred[:, 3:4]).solution[:, 0]
    assert torch.allclose(y[:, 3], residual / residual.std(), rtol=0, atol=1e-10)
    changed = x.clone()
    changed[:, 4:] = 0
    assert torch.equal(CholeskyWhitening().fit([x])(changed)[:, :4], y[:, :4])  # later ones do not matter


def test_determined_coordinates_map_to_zero_and_come_back_by_regression():
    x = correlated(d=4)
    combination = 2 * x[:, 0] - x[:, 1] + 5
    x = torch.stack([x[:, 0], x[:, 1], combination, torch.full_like(combination, 7.0), x[:, 2], x[:, 3]], 1)
    whitening = CholeskyWhitening().fit([x])
    y, kept = whitening(x), [0, 1, 4, 5]
    assert y[:, [2, 3]].abs().max() == 0
    assert torch.allclose(y[:, kept].T.cov(), torch.eye(4).double(), rtol=0, atol=1e-9)
    other = x.clone()
    other[:, [2, 3]] = 0
    assert torch.equal(whitening(other), y)
    assert torch.allclose(whitening.inverse(y), x, rtol=0, atol=1e-10)
    report = whitening.report()
    assert report.rank == 4
    assert report.dropped < 1e-12
    # the mean's rounding is all that a determined coordinate loses
    assert report.condition_before == pytest.approx(torch.linalg.cond(x[:, kept].T.cov()).item(), rel=1e-8)


@pytest.mark.parametrize("slope", [1, 30, 1000])
def test_rounding_of_float32_data_is_not_whitened(slope):
    line = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (1000 + line * torch.tensor([1.0, slope / 3, slope / 7])).float()  # one direction, rounded
    whitening = CholeskyWhitening().fit([x])
    assert whitening.report().rank == 1
    assert whitening(x)[:, 1:].abs().max() == 0


def test_a_large_singular_covariance():
    d, rank = 2 * BLOCK, 40
    x = correlated(n=500, d=rank) @ torch.randn(rank, d, generator=torch.Generator().manual_seed(1)).double()
    whitening = CholeskyWhitening().fit([x])
    y = whitening(x)
    assert whitening.report().rank == rank
    assert torch.allclose(y[:, :rank].T.cov(), torch.eye(rank).double(), rtol=0, atol=1e-6)
    assert y[:, rank:].abs().max() == 0
    once = whitening.inverse(y)  # regressions from a covariance of condition number 1e9 hold to 7 digits
    assert torch.allclose(once, x, rtol=0, atol=1e-6)
    assert torch.allclose(whitening.inverse(whitening(once)), once, rtol=0, atol=1e-10)


@pytest.mark.parametrize("a", [0.2, "oas"])
def test_shrinkage_is_that_of_the_covariance(a):
    x = correlated(n=5)
    share = OAS().fit(x.numpy()).shrinkage_ if a == "oas" else a
    factor, sample = CholeskyWhitening(shrinkage=a).fit([x]).factor, x.T.cov()
    estimate = (1 - share) * sample + share * sample.trace() / 6 * torch.eye(6).double()
    assert torch.allclose(factor @ factor.T, estimate, rtol=0, atol=1e-10)
