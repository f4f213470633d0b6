"""The mixture against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from datamodules.truth import GaussianMixture


def test_radius_is_three_std_in_the_plane_and_keeps_its_mass_in_any_dimension():
    for dimension in (1, 2, 50, 1200):
        mixture = GaussianMixture(torch.zeros(1, dimension), std=0.1)
        samples, _ = mixture.sample(4000, torch.Generator().manual_seed(0))
        assert (mixture.assign(samples) == 0).double().mean() == pytest.approx(1 - math.exp(-4.5), abs=0.006)
    assert GaussianMixture(torch.zeros(1, 2), std=0.1).radius == pytest.approx(0.3, rel=1e-12)


def test_assign_takes_the_nearest_mode_and_refuses_what_is_far():
    mixture = GaussianMixture(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), std=0.1)
    x = torch.tensor([[0.0, 0.29], [0.0, 0.31], [0.75, 0.0], [0.5, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert mixture.assign(x).tolist() == [0, -1, 1, -1, -1, -1]
    assert mixture.assign(x).dtype == torch.int64


def test_narrow_modes_far_from_the_origin_are_resolved():
    mixture = GaussianMixture(torch.tensor([[1e6, 0.0], [1e6 + 1e-3, 0.0]], dtype=torch.float64), std=1e-4)
    samples, modes = mixture.sample(1000, torch.Generator().manual_seed(0))
    assigned = mixture.assign(samples)
    assert ((assigned == modes) | (assigned == -1)).all()
    assert (assigned == modes).double().mean() > 0.97


def test_log_density_agrees_with_scipy():
    means, weights = np.array([[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]]), np.array([0.3, 0.7])
    x = np.random.default_rng(0).normal(size=(20, 3))
    parts = [w * multivariate_normal(m, 0.25).pdf(x) for m, w in zip(means, weights, strict=True)]
    mixture = GaussianMixture(torch.tensor(means), std=0.5, weights=torch.tensor([3.0, 7.0]))
    assert np.allclose(mixture.log_density(torch.tensor(x)).numpy(), np.log(sum(parts)), rtol=1e-12)


def test_samples_have_the_components_moments_and_weights():
    mixture = GaussianMixture(torch.tensor([[0.0, 5.0], [3.0, 0.0]]), std=0.5, weights=torch.tensor([1.0, 3.0]))
    samples, modes = mixture.sample(40_000, torch.Generator().manual_seed(0))
    assert samples.dtype == torch.float64
    assert modes.double().mean() == pytest.approx(0.75, abs=0.01)
    for mode in range(2):
        own = samples[modes == mode]
        assert torch.allclose(own.mean(0), mixture.means[mode], atol=0.02)
        assert torch.allclose(own.T.cov(), 0.25 * torch.eye(2, dtype=torch.float64), atol=0.01)


@pytest.mark.parametrize(
    ("means", "kwargs", "message"),
    [
        (torch.zeros(3), {"std": 1.0}, r"shape \(K, d\), got shape \(3,\)"),
        (torch.zeros(0, 2), {"std": 1.0}, r"got shape \(0, 2\)"),
        (torch.full((1, 2), math.nan), {"std": 1.0}, "must be finite"),
        (torch.zeros(2, 2), {"std": 1.0}, "only 1 of 2 means are distinct"),
        (torch.eye(2), {"std": 0.0}, "std must be positive and finite, got 0.0"),
        (torch.eye(2), {"std": 1.0, "weights": torch.tensor([1.0, 0.0])}, "weights must be positive"),
        (torch.eye(2), {"std": 1.0, "weights": torch.ones(3)}, r"of shape \(2,\)"),
    ],
)
def test_bad_arguments_are_refused(means, kwargs, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(means, **kwargs)


def test_samples_of_another_dimension_are_refused():
    mixture = GaussianMixture(torch.eye(2), std=1.0)
    for method in (mixture.assign, mixture.log_density):
        with pytest.raises(ValueError, match=r"expected samples of shape \(N, 2\), got \(4, 3\)"):
            method(torch.zeros(4, 3))
