"""The mixture against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from datamodules import GridDataModule, RingDataModule
from datamodules.truth import GaussianMixture, gaussian_mixture

MASS = 1 - math.exp(-4.5)
ROUND, STRETCHED = 0.5, torch.tensor([[[0.5, 0.0], [0.4, 0.1]], [[0.0, -1.0], [0.3, 0.6]], [[0.3, 0.0], [0.0, 2.0]]])
SCALES = {"one std": torch.tensor(ROUND), "std of each": torch.tensor([0.5, 1.0, 0.2]), "factors": STRETCHED}
each_scale = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())


def seeded():
    return torch.Generator().manual_seed(0)


def make(scale):
    """Three unequal components that overlap."""
    means = torch.tensor([[0.0, 1.0], [2.0, -1.0], [1.0, 1.5]])
    return GaussianMixture(means, scale, torch.tensor([3.0, 5.0, 2.0]))


def covariances(scale):
    return scale @ scale.mT if scale.ndim == 3 else scale.square().expand(3)[:, None, None] * torch.eye(2)


def scipy_joint(mixture, covariance, x):
    """w_k N(x; mean_k, C_k), (N, K)."""
    parts = zip(mixture.weights, mixture.means, covariance, strict=True)
    return np.stack([float(w) * multivariate_normal(m, c.double()).pdf(x) for w, m, c in parts], 1)


@pytest.mark.parametrize(("dimension", "n"), [(1, 4000), (2, 4000), (50, 4000), (1200, 1500)])
@pytest.mark.parametrize("stretched", [False, True])
def test_perfect_samples_are_of_high_quality_with_the_same_mass_in_any_dimension(dimension, n, stretched):
    std = 0.1 * torch.linspace(1, 10, dimension).diag()[None] if stretched else 0.1
    mixture = GaussianMixture(torch.ones(1, dimension), std)
    samples, _ = mixture.sample(n, seeded())
    quality = (mixture.assign(samples) == 0).double().mean().item()
    assert quality == pytest.approx(MASS, abs=4 * math.sqrt(MASS * (1 - MASS) / n))


def test_three_std_would_reject_every_perfect_sample_in_1200_dimensions():
    mixture = GaussianMixture(torch.ones(2, 1200) * torch.tensor([[1.0], [-1.0]]), 0.1)
    samples, modes = mixture.sample(1000, seeded())
    assert ((samples - mixture.means[modes]).norm(dim=1) / 0.1).min() > 30
    assert (mixture.assign(samples) == modes).double().mean() == pytest.approx(MASS, abs=0.014)


@pytest.mark.parametrize("std", [1.0, torch.eye(30)[None]], ids=["std", "factors"])
def test_one_mode_has_the_mass_of_high_quality_exactly(std):
    assert GaussianMixture(torch.zeros(1, 30), std).high_quality == MASS


def test_radius_is_three_std_in_the_plane():
    assert GaussianMixture(torch.zeros(1, 2), std=0.1).radius == pytest.approx(3, rel=1e-12)


def test_assign_takes_the_nearest_mode_and_refuses_what_is_far():
    mixture = GaussianMixture(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), std=0.1)
    x = torch.tensor([[0.0, 0.29], [0.0, 0.31], [0.75, 0.0], [0.5, 0.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert mixture.assign(x).tolist() == [0, -1, 1, -1, -1, -1]
    assert mixture.assign(x).dtype == torch.int64


def test_a_stretched_mode_reaches_as_far_as_it_is_wide():
    mixture = GaussianMixture(
        torch.tensor([[0.0, 0.0], [4.0, 0.0]]), torch.tensor([[1.0, 0.1], [0.1, 1.0]]).diag_embed()
    )
    x = torch.tensor([[2.9, 0.0], [3.1, 0.0], [0.0, 0.29], [0.0, 0.31], [3.75, 1.0], [3.65, 0.0], [math.nan, 0.0]])
    assert mixture.assign(x).tolist() == [0, -1, 0, -1, 1, -1, -1]
    assert mixture.assign(torch.full((1, 2), math.inf)).tolist() == [-1]


def test_a_narrow_mode_keeps_its_samples_from_a_wide_one_around_it():
    mixture = GaussianMixture(torch.tensor([[0.0, 0.0], [0.5, 0.0]]), torch.tensor([1.0, 0.01]))
    samples, modes = mixture.sample(20_000, seeded())
    narrow = samples[modes == 1]
    assert (mixture.assign(narrow) == 1).double().mean() == pytest.approx(MASS, abs=0.005)
    assert (narrow.norm(dim=1) < ((narrow - mixture.means[1]) / 0.01).norm(dim=1)).any()  # nearer, in std, to the wide


@each_scale
def test_assignment_is_bayes_rule_among_the_modes_within_reach(scale):
    mixture = make(scale)
    samples, modes = mixture.sample(40_000, seeded())
    joint = scipy_joint(mixture, covariances(scale), samples)
    posterior = torch.tensor(joint / joint.sum(1, keepdims=True))
    deviations = samples[:, None] - mixture.means
    inverse = covariances(scale).double().inverse()
    within = torch.einsum("nki,kij,nkj->nk", deviations, inverse, deviations) <= 9
    mode = mixture.assign(samples)
    assert torch.equal(mode >= 0, within.any(1))
    expected = torch.where(within, posterior, -1.0).argmax(1)
    assert torch.equal(mode[mode >= 0], expected[mode >= 0])
    # so a sample is right as often as its posterior says: 4 standard errors
    right = (mode == modes)[mode >= 0].double()
    assert right.mean().item() == pytest.approx(
        posterior.gather(1, expected[:, None])[mode >= 0].mean().item(), abs=4 * right.std().item() / 200
    )
    assert right.mean() < 0.99  # they overlap


@each_scale
def test_the_mass_of_high_quality_counts_what_falls_among_others(scale):
    mixture = make(scale)
    quality = (mixture.assign(mixture.sample(400_000, seeded())[0]) >= 0).double().mean().item()
    assert mixture.high_quality == pytest.approx(quality, abs=4 * math.sqrt(quality * (1 - quality) / 400_000) + 2e-4)
    assert mixture.high_quality > MASS + 1e-3


@each_scale
def test_log_density_agrees_with_scipy_and_integrates_to_one(scale):
    mixture = make(scale)
    axis = torch.linspace(-14, 14, 701, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    density = mixture.log_density(x)
    covariance = covariances(scale.double())
    near = density > -500  # SciPy's density underflows further out
    expected = torch.tensor(scipy_joint(mixture, covariance, x).sum(1)).log()
    assert torch.allclose(density[near], expected[near], atol=1e-9)
    assert density.exp().sum().item() * (axis[1] - axis[0]).item() ** 2 == pytest.approx(1, abs=1e-6)


@each_scale
def test_samples_have_the_components_moments_and_weights(scale):
    mixture = make(scale)
    samples, modes = mixture.sample(90_000, seeded())
    assert samples.dtype == torch.float64
    assert torch.allclose(torch.bincount(modes) / 90_000, torch.tensor([0.3, 0.5, 0.2]), atol=0.007)
    for mode, covariance in enumerate(covariances(scale)):
        own = samples[modes == mode]
        assert torch.allclose(own.mean(0), mixture.means[mode], atol=0.06)
        assert torch.allclose(own.T.cov().float(), covariance, atol=0.025 * covariance.max().item())


@pytest.mark.parametrize("scale", [1e-4, 1e-4 * torch.eye(2).expand(2, 2, 2)], ids=["std", "factors"])
def test_narrow_modes_far_from_the_origin_are_resolved(scale):
    mixture = GaussianMixture(torch.tensor([[1e6, 0.0], [1e6 + 1e-3, 0.0]], dtype=torch.float64), scale)
    samples, modes = mixture.sample(1000, seeded())
    assigned = mixture.assign(samples)
    assert ((assigned == modes) | (assigned == -1)).all()
    assert (assigned == modes).double().mean() > 0.97


@each_scale
def test_memory_is_bounded_and_blocks_change_nothing(scale, monkeypatch):
    mixture = make(scale)
    samples, _ = mixture.sample(1000, seeded())
    whole = [mixture.assign(samples), mixture.log_density(samples), mixture.sample(1000, seeded())[0]]
    monkeypatch.setattr(gaussian_mixture, "_BLOCK", 100)
    sizes, distances = [], GaussianMixture._distances
    monkeypatch.setattr(GaussianMixture, "_distances", lambda self, x: sizes.append(len(x)) or distances(self, x))
    parts = [mixture.assign(samples), mixture.log_density(samples), mixture.sample(1000, seeded())[0]]
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))
    assert 100 / (3 * 2 + 2) - 1 < max(sizes) <= 100 / (3 + 2)
    assert mixture.assign(samples[:0]).shape == (0,)


@pytest.mark.parametrize(("module", "kl"), [(RingDataModule, 0.0014), (GridDataModule, 0.0048)])
def test_floors_are_what_perfect_samples_score(module, kl):
    mixture = module(batch_size=1).truth
    modes = mixture.assign(mixture.sample(200 * 2500, seeded())[0]).reshape(200, 2500)
    counts = torch.nn.functional.one_hot(modes + 1, mixture.num_modes + 1).sum(1)[:, 1:].double()
    shares = counts / counts.sum(1, keepdim=True)
    divergence = torch.xlogy(shares, shares * mixture.num_modes).sum(1)
    floors = mixture.floors(2500)
    assert floors.mode_kl == kl
    assert divergence.mean().item() == pytest.approx(kl, abs=4 * divergence.std().item() / math.sqrt(200))
    assert floors.modes == (counts > 0).double().sum(1).mean()
    assert floors.high_quality == pytest.approx(
        counts.sum().item() / counts.numel() * mixture.num_modes / 2500, abs=6e-4
    )

    few = torch.nn.functional.one_hot(modes[:, :20] + 1, mixture.num_modes + 1).sum(1)[:, 1:]
    found = (few > 0).double().sum(1)
    expected = mixture.floors(20).modes
    assert expected < mixture.num_modes - 0.5
    assert found.mean().item() == pytest.approx(expected, abs=4 * found.std().item() / math.sqrt(200))


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 4.0]])
@pytest.mark.parametrize("delta", [3.5, 5.0, 76.0])
def test_the_valley_is_the_saddle_between_two_modes(weights, delta):
    means = 0.1 * torch.tensor([[0.0, 0.0], [0.8, 0.6]], dtype=torch.float64) * delta
    mixture = GaussianMixture(means, 0.1, torch.tensor(weights))
    low, high = 0.2, 0.8
    for _ in range(2):  # the valley of distant modes is a kink: look again where the first grid finds it
        t = torch.linspace(low, high, 100_001, dtype=torch.float64)[:, None]
        along = mixture.log_density(means[0] + t * (means[1] - means[0]))
        low, high = float(t[along.argmin() - 1]), float(t[along.argmin() + 1])
    assert mixture.valley(0, 1) == pytest.approx(along.min().item(), abs=1e-6)
    assert mixture.valley(1, 0) == pytest.approx(mixture.valley(0, 1), abs=1e-6)
    if weights == [1.0, 1.0]:  # halfway, two densities at delta / 2 std, each of weight 1/2
        expected = -((delta / 2) ** 2) / 2 - math.log(2 * math.pi * 0.01)
        assert mixture.valley(0, 1) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("delta", "has_valley"), [(2.05, True), (1.95, False)])
def test_two_modes_have_a_valley_from_two_std_on(delta, has_valley):
    mixture = GaussianMixture(torch.tensor([[0.0], [delta]]), 1.0)
    assert math.isfinite(mixture.valley(0, 1)) == has_valley
    if has_valley:  # though density is higher there than at the means, which are not the maxima
        assert mixture.log_density(mixture.means)[0] < mixture.valley(0, 1)
        assert mixture.valley(0, 1) == mixture.log_density(mixture.means.mean(0, keepdim=True)).item()


@pytest.mark.parametrize(
    ("means", "kwargs", "message"),
    [
        (torch.zeros(3), {"std": 1.0}, r"shape \(K, d\), got shape \(3,\)"),
        (torch.zeros(0, 2), {"std": 1.0}, r"got shape \(0, 2\)"),
        (torch.full((1, 2), math.nan), {"std": 1.0}, "must be finite"),
        (torch.zeros(2, 2), {"std": 1.0}, "only 1 of 2 means are distinct"),
        (torch.eye(2), {"std": 0.0}, "std must be positive and finite, got 0.0"),
        (torch.eye(2), {"std": torch.tensor([1.0, -1.0])}, "std must be positive and finite, got -1.0"),
        (torch.eye(2), {"std": torch.ones(3)}, r"\(2,\), or factors of covariances \(2, 2, 2\), got shape \(3,\)"),
        (torch.eye(2), {"std": torch.eye(2)}, r"got shape \(2, 2\)"),
        (torch.eye(2), {"std": torch.stack([torch.eye(2), torch.ones(2, 2)])}, "mode 1 is singular .* small variance"),
        (torch.eye(2), {"std": torch.full((2, 2, 2), math.nan)}, "mode 0 is singular or not finite"),
        (torch.eye(2), {"std": 1.0, "weights": torch.tensor([1.0, 0.0])}, "weights must be positive"),
        (torch.eye(2), {"std": 1.0, "weights": torch.ones(3)}, r"of shape \(2,\)"),
    ],
)
def test_bad_arguments_are_refused(means, kwargs, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(means, **kwargs)


@each_scale
def test_samples_of_another_dimension_are_refused(scale):
    mixture = make(scale)
    for method in (mixture.assign, mixture.log_density):
        with pytest.raises(ValueError, match=r"expected samples of shape \(N, 2\), got \(4, 3\)"):
            method(torch.zeros(4, 3))
