"""Gaussians at random places."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules import GaussianMixtureDataModule
from datamodules.truth.gaussian_mixture import HIGH_QUALITY_MASS


def build(**kwargs):
    return GaussianMixtureDataModule(**{"batch_size": 1, "train_size": 3000, **kwargs})


@pytest.mark.parametrize(
    ("modes", "dimension"), [(1, 2), (8, 1), (8, 2), (200, 2), (10, 1200)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("separation", [2.0, 5.0])
def test_the_nearest_means_lie_the_separation_apart(modes, dimension, separation):
    truth = build(modes=modes, dimension=dimension, separation=separation, std=0.1).truth
    assert truth.num_modes == modes
    if modes > 1:
        assert torch.pdist(truth.means).min().item() == pytest.approx(separation * truth.radius * 0.1, rel=1e-9)
    assert torch.allclose(truth.means.mean(0), torch.zeros(dimension).double(), atol=1e-9)


def test_from_a_separation_of_two_on_no_neighbourhoods_meet():
    module = build(modes=30, separation=2.0, condition_number=50.0)
    truth, angles = module.truth, torch.linspace(0, 2 * math.pi, 400, dtype=torch.float64)
    circle = truth.radius * torch.stack([angles.cos(), angles.sin()])
    for mode, factor in enumerate(truth.std):
        edge = truth.means[mode] + (factor @ circle).T  # of this mode's neighbourhood
        inside = truth.means[mode] + 0.999 * (edge - truth.means[mode])
        outside = truth.means[mode] + 1.001 * (edge - truth.means[mode])
        assert (truth.assign(inside) == mode).all()
        assert (truth.assign(outside) == -1).float().mean() > 0.99  # two may touch
    assert truth.high_quality == pytest.approx(HIGH_QUALITY_MASS, abs=2e-4)


@pytest.mark.parametrize("condition_number", [1.0, 100.0])
def test_in_1200_dimensions_perfect_samples_are_of_high_quality_and_of_their_mode(condition_number):
    module = build(modes=3, dimension=1200, separation=2.0, condition_number=condition_number, val_size=600)
    samples, labels = module.load("val")
    mode = module.truth.assign(samples)
    assert ((mode == labels) | (mode == -1)).all()
    error = math.sqrt(HIGH_QUALITY_MASS * (1 - HIGH_QUALITY_MASS) / 600)
    assert (mode >= 0).double().mean().item() == pytest.approx(HIGH_QUALITY_MASS, abs=4 * error)
    halfway = module.truth.means[:2].mean(0, keepdim=True) + (samples - module.truth.means[labels]).float()
    assert (module.truth.assign(halfway) == -1).all()  # what a generator that mixes two modes makes
    if condition_number == 1:
        assert (samples - module.truth.means[labels]).norm(dim=1).min() > 30 * 0.05


def test_each_covariance_has_the_condition_number_and_axes_of_its_own():
    factors = build(modes=4, dimension=6, std=0.3, condition_number=100.0).truth.std
    variances = torch.linalg.eigvalsh(factors @ factors.mT)
    assert torch.allclose(variances[:, -1], torch.tensor(0.09, dtype=torch.float64))
    assert torch.allclose(variances[:, -1] / variances[:, 0], torch.tensor(100.0, dtype=torch.float64))
    first, second = (factors @ factors.mT)[:2]
    assert not torch.allclose(first, second, atol=0.01)


def test_weights_are_the_shares_of_the_labels():
    module = build(modes=3, weights=[1, 2, 5], train_size=20_000)
    shares = torch.bincount(module.load("train")[1]) / 20_000
    assert torch.allclose(shares, torch.tensor([0.125, 0.25, 0.625]), atol=0.014)


def test_truth_seed_moves_the_modes_and_data_seed_draws_from_them():
    first, moved, drawn = build(), build(truth_seed=1), build(data_seed=1)
    assert torch.equal(first.truth.means, drawn.truth.means)
    assert not torch.allclose(first.truth.means, moved.truth.means)
    assert torch.equal(first.load("val")[0], build().load("val")[0])
    assert not torch.equal(first.load("val")[0], drawn.load("val")[0])


def test_a_thousand_modes_in_the_plane_stay_near_each_other():
    means = build(modes=1000).truth.means
    nearest = (torch.cdist(means, means) + 1e9 * torch.eye(1000)).min(1).values
    assert means.std() / nearest.min() < 30  # 300 for independent draws


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        *[
            ({name: 0}, f"{name} must be positive and finite, got 0")
            for name in ("modes", "dimension", "separation", "std")
        ],
        ({"condition_number": 0.5}, "condition_number must be at least 1 and finite, got 0.5"),
        ({"dimension": 1, "condition_number": 2.0}, "one dimension has condition_number 1, got 2.0"),
        ({"weights": [1.0, 2.0]}, r"weights must be positive and of shape \(8,\)"),
        ({"modes": 2, "weights": [1.0, -2.0]}, "weights must be positive"),
    ],
    ids=lambda value: str(value),
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)
