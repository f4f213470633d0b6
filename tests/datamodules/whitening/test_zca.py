"""ZCA against its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.covariance import OAS

from datamodules.whitening import Standardize, ZCAWhitening


def gaussian(spectrum, n=4000, mean=0.0):
    """Samples (n, d) whose sample covariance has exactly this spectrum, in a random basis; and that basis."""
    generator = torch.Generator().manual_seed(0)
    d = len(spectrum)
    z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    z = z - z.mean(0)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T.cov()), z.T, upper=False).T
    rotation = torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q
    return (z * spectrum.sqrt()) @ rotation.T + mean, rotation


SPECTRUM = torch.logspace(0, -6, 8, dtype=torch.float64)  # condition number 1e6


def eigenvalues(y):
    return torch.linalg.eigvalsh(y.T.cov()).flip(0)


def condition(y):
    return (eigenvalues(y)[0] / eigenvalues(y)[-1]).item()


def test_covariance_becomes_the_identity():
    x, _ = gaussian(SPECTRUM, mean=3.0)
    y = ZCAWhitening().fit(x.split(100))(x)
    assert y.mean(0).abs().max() < 1e-9
    assert torch.allclose(y.T.cov(), torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-8)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_a_variance_s_becomes_s_to_the_one_minus_power(power):
    x, rotation = gaussian(SPECTRUM)
    y = ZCAWhitening(power).fit([x])(x)
    in_eigenbasis = (y @ rotation).T.cov()  # the eigenvectors stay
    assert torch.allclose(in_eigenbasis.diagonal(), SPECTRUM ** (1 - power), rtol=1e-8)
    assert (in_eigenbasis - in_eigenbasis.diagonal().diag()).abs().max() < 1e-8


def test_power_zero_only_centres():
    x, _ = gaussian(SPECTRUM, mean=3.0)
    assert torch.allclose(ZCAWhitening(power=0.0).fit([x])(x), x - x.mean(0))


def test_rotated_ill_conditioned_data_needs_zca():
    x, _ = gaussian(SPECTRUM)
    assert condition(Standardize().fit([x])(x)) > 1e4
    assert condition(ZCAWhitening().fit([x])(x)) < 1 + 1e-6


def test_it_is_the_symmetric_whitening():
    x, _ = gaussian(SPECTRUM)
    matrix = ZCAWhitening().fit([x])(x.mean(0) + torch.eye(8, dtype=torch.float64))
    assert torch.allclose(matrix, matrix.T, rtol=0, atol=1e-8)
    assert (torch.linalg.eigvalsh(matrix) > 0).all()
    inverse_root = matrix @ matrix @ x.T.cov()
    assert torch.allclose(inverse_root, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-6)


def test_epsilon_keeps_weak_directions_small_and_stays_invertible():
    x, rotation = gaussian(SPECTRUM)
    whitening = ZCAWhitening(epsilon=1e-3).fit([x])
    variances = (whitening(x) @ rotation).var(0)
    assert torch.allclose(variances, SPECTRUM / (SPECTRUM + 1e-3), rtol=1e-8)
    assert torch.allclose(whitening.inverse(whitening(x)), x, rtol=0, atol=1e-12)


def test_directions_without_variance_are_left_out():
    flat, _ = gaussian(SPECTRUM[:5])
    basis = torch.linalg.qr(torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    x = flat @ basis.T + 1.0
    whitening = ZCAWhitening().fit([x])
    spectrum = eigenvalues(whitening(x))
    assert whitening.gain.shape == (5,)
    assert torch.allclose(spectrum[:5], torch.ones(5, dtype=torch.float64), atol=1e-7)
    assert spectrum[5:].abs().max() < 1e-12
    assert torch.allclose(whitening.inverse(whitening(x)), x, rtol=0, atol=1e-12)


def test_rounding_of_float32_data_is_not_whitened():
    line = torch.randn(1000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (1000 + line @ torch.ones(1, 6, dtype=torch.float64) * torch.arange(1, 7) / 3).float()  # one direction, rounded
    whitening = ZCAWhitening().fit([x])
    assert whitening.gain.shape == (1,)
    assert whitening(x).norm(dim=1).max() < 6


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_a_rank_keeps_the_leading_directions(rank):
    x, rotation = gaussian(SPECTRUM, mean=3.0)
    whitening = ZCAWhitening(rank=rank).fit([x])
    spectrum = eigenvalues(whitening(x))
    assert torch.allclose(spectrum[:rank], torch.ones(rank, dtype=torch.float64), atol=1e-7)
    assert spectrum[rank:].abs().sum() < 1e-12
    leading = rotation[:, :rank]
    projected = (x - x.mean(0)) @ leading @ leading.T + x.mean(0)
    assert torch.allclose(whitening.inverse(whitening(x)), projected, rtol=0, atol=1e-9)
    report = whitening.report()
    assert report.rank == rank
    assert report.dropped == pytest.approx((SPECTRUM[rank:].sum() / SPECTRUM.sum()).item(), abs=1e-12)


@pytest.mark.parametrize("power", [0.0, 0.25, 0.5, 1.0])
def test_a_condition_number_k_becomes_k_to_the_one_minus_power(power):
    x, _ = gaussian(SPECTRUM)
    report = ZCAWhitening(power).fit([x]).report()
    assert report.condition_before == pytest.approx(1e6, rel=1e-6)
    assert report.condition_after == pytest.approx(1e6 ** (1 - power), rel=1e-6)
    assert report.log_determinant == pytest.approx(-power / 2 * SPECTRUM.log().sum().item(), abs=1e-6)


def test_log_determinant_changes_the_density():
    x, _ = gaussian(SPECTRUM)
    whitening = ZCAWhitening().fit([x])
    data = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov())
    white = torch.distributions.Normal(torch.tensor(0.0).double(), 1.0)
    transported = white.log_prob(whitening(x)).sum(1) + whitening.report().log_determinant
    assert torch.allclose(transported, data.log_prob(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("n", [7, 60])
@pytest.mark.parametrize("a", [0.0, 0.3, "oas"])
def test_shrinkage_is_that_of_the_covariance(n, a):
    x, _ = gaussian(SPECTRUM, n=60)
    x = x[:n] if a else x
    whitening = ZCAWhitening(shrinkage=a).fit([x])
    sample = x.T.cov()
    share = OAS().fit(x.numpy()).shrinkage_ if a == "oas" else a
    estimate = (1 - share) * sample + share * sample.trace() / 8 * torch.eye(8).double()
    found = whitening.basis @ whitening.variance.diag() @ whitening.basis.T
    assert torch.allclose(found, estimate, rtol=0, atol=1e-12)


def test_oas_of_a_multiple_of_the_identity_shrinks_all_the_way():
    x = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    whitening = ZCAWhitening(shrinkage="oas").fit([x])
    assert OAS().fit(x.numpy()).shrinkage_ == 1
    assert torch.allclose(whitening(x).T.cov(), torch.eye(3).double())


def test_held_out_gaussian_data_are_white_within_the_sampling_error_of_both_samples():
    d, n_fit, n_test = 30, 3_000, 1_000
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    draw = lambda n: torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing  # noqa: E731
    spectrum = eigenvalues(ZCAWhitening().fit([draw(n_fit)])(draw(n_test)))
    # edges of the F-matrix's spectrum (Wachter, 1980), y1 = d / n_test, y2 = d / n_fit
    y1, y2 = d / n_test, d / n_fit
    h = (y1 + y2 - y1 * y2) ** 0.5
    low, high = ((1 - h) / (1 - y2)) ** 2, ((1 + h) / (1 - y2)) ** 2
    slack = 4 * d ** (-2 / 3) * h  # the scale of an edge's fluctuations, a few times over
    assert low - slack < spectrum[-1] < low + slack
    assert high - slack < spectrum[0] < high + slack


def test_identical_samples_are_all_mean():
    x = torch.ones(5, 3)
    whitening = ZCAWhitening().fit([x])
    assert whitening(x).abs().max() == 0
    assert torch.equal(whitening.inverse(whitening(x)), x)


@pytest.mark.parametrize("power", [-0.1, 1.1, math.nan])
def test_power_must_lie_in_the_unit_interval(power):
    with pytest.raises(ValueError, match=rf"power must lie in \[0, 1\] .* got {power}"):
        ZCAWhitening(power=power)


@pytest.mark.parametrize("epsilon", [-1e-3, math.nan, math.inf])
def test_epsilon_must_be_a_variance(epsilon):
    with pytest.raises(ValueError, match=f"epsilon must be a finite variance >= 0, got {epsilon}"):
        ZCAWhitening(epsilon=epsilon)


@pytest.mark.parametrize("rank", [0, -1])
def test_rank_must_be_positive(rank):
    with pytest.raises(ValueError, match=f"rank must be positive.* got {rank}"):
        ZCAWhitening(rank=rank)


def test_a_rank_above_the_dimension_is_refused():
    with pytest.raises(ValueError, match=r"rank must be at most 6, .* \(1, 2, 3\), got 7"):
        ZCAWhitening(rank=7).check_shape((1, 2, 3))
