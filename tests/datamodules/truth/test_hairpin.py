"""The hairpin against its closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, wasserstein_distance

from datamodules import HairpinDataModule
from datamodules.truth import Hairpin

LENGTH = 4.0


@pytest.mark.parametrize(
    ("gap", "ratio"), [(2.0, 0.2800), (1.0, 0.1795), (0.5, 0.1045), (0.25, 0.0569), (0.125, 0.0298)]
)
def test_mass_across_the_gap_is_far_along_the_curve(gap, ratio):
    """W1 of mass p moved across the gap at x: p gap in the plane, p (2 (L - x) + pi gap / 2) along the curve."""
    truth, x, p = Hairpin(2, LENGTH, gap, 0.01, gap / 12), 2.0, 0.3
    lower, upper = torch.tensor([[x, 0.0]]), torch.tensor([[x, gap]])
    geodesic = p * float(truth.geodesic(lower, upper))
    assert geodesic == pytest.approx(p * (2 * (LENGTH - x) + math.pi * gap / 2), rel=1e-12)
    # the line's own W1, between arc lengths, of which 1 - p stays where it is
    s = truth.locate(torch.cat([lower, upper])).flatten().numpy()
    assert geodesic == pytest.approx(wasserstein_distance(s, s[:1], [1 - p, p]), rel=1e-12)
    assert p * gap / geodesic == pytest.approx(ratio, abs=5e-5)


def test_the_curve_is_two_sheets_and_a_bend():
    truth = Hairpin(2, LENGTH, 1.0, 0.05, 0.05)
    assert truth.lengths.item() == pytest.approx(2 * LENGTH + math.pi / 2)
    s = torch.tensor(
        [0.0, LENGTH, LENGTH + math.pi / 4, LENGTH + math.pi / 2, 2 * LENGTH + math.pi / 2], dtype=torch.float64
    )
    s = s[:, None]
    expected = torch.tensor([[0.0, 0.0], [LENGTH, 0.0], [LENGTH + 0.5, 0.5], [LENGTH, 1.0], [0.0, 1.0]])
    assert torch.allclose(truth.embed(s), expected.double(), atol=1e-12)
    assert truth.curvature(s).tolist() == [0, 0, 2, 0, 0]
    walked = truth.embed(torch.linspace(0, truth.lengths.item(), 20_001, dtype=torch.float64)[:, None])
    assert walked.diff(dim=0).norm(dim=1).sum() == pytest.approx(truth.lengths.item(), rel=1e-6)
    inward = truth.embed(s) + 0.5 * truth.normals(s)[:, 0]
    assert torch.allclose(inward[:, 1], torch.full((5,), 0.5, dtype=torch.float64))


def test_modes_lie_across_the_gap_from_each_other():
    means = Hairpin(3, 3.0, 0.5, 0.05, 0.05).means
    assert torch.allclose(means[:, 0], torch.tensor([0.5, 1.5, 2.5, 2.5, 1.5, 0.5]).double())
    assert torch.allclose(means[:, 1], torch.tensor([0.0, 0, 0, 0.5, 0.5, 0.5]).double())


@pytest.mark.parametrize("normal_std", [0.03, 0.15, 0.6])
def test_the_density_integrates_to_one_whatever_the_noise(normal_std):
    """By quadrature, for noise well inside the reach of 0.2, about it, and far beyond it."""
    truth = Hairpin(1, 1.0, 0.4, 0.15, normal_std, torch.tensor([1.0, 3.0]))

    def panels(low, high, n):
        """Gauss-Legendre nodes and weights in n equal parts."""
        nodes, weights = np.polynomial.legendre.leggauss(12)
        half = (high - low) / (2 * n)
        middles = low + half * (2 * np.arange(n)[:, None] + 1)
        return (middles + half * nodes).ravel(), np.tile(half * weights, n)

    def mass(low, high, below, above):
        (x, wx), (y, wy) = panels(low, high, 24), panels(below, above, 96)
        grid = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
        return wx @ truth.log_density(torch.from_numpy(grid)).exp().numpy().reshape(len(x), len(y)) @ wy

    reach = 7 * normal_std
    around_the_sheets = mass(0.0, 1.0, -reach, 0.4 + reach)
    around_the_bend = mass(1.0, 1.2 + reach, -reach, 0.4 + reach)
    left = mass(-reach, 0.0, -reach, 0.4 + reach)  # noise off the bend, through its centre and out between the ends
    assert left + around_the_sheets + around_the_bend == pytest.approx(1.0, abs=1e-3)


def test_on_a_sheet_the_density_is_the_product_of_both_noises():
    truth = Hairpin(2, LENGTH, 2.0, 0.05, 0.1)
    x, y = torch.tensor([0.9, 1.0, 1.13]).double(), torch.tensor([-0.2, 0.0, 0.15]).double()
    expected = math.log(0.25) + norm(1, 0.05).logpdf(x) + norm(0, 0.1).logpdf(y)
    assert np.allclose(truth.log_density(torch.stack([x, y], 1)), expected, atol=1e-10)


def test_left_of_the_sheets_is_nothing_but_what_crosses_the_bend():
    truth = Hairpin(2, 1.0, 0.5, 0.05, 0.04)
    x = torch.tensor([[-0.1, 0.0], [-0.1, 0.5]], dtype=torch.float64)
    assert (truth.log_density(x) < -200).all()
    assert torch.allclose(truth.project(x), torch.tensor([[0.0, 0.0], [0.0, 0.5]]).double())


def test_unrolled_it_is_the_same_curve_on_a_line():
    truth = Hairpin(3, 2.0, 0.25, 0.05, 0.02, torch.arange(1.0, 7.0))
    flat = truth.unrolled()
    assert torch.equal(flat.weights, truth.weights)
    assert flat.lengths.equal(truth.lengths)
    assert (flat.tangential_std, flat.normal_std, flat.high_quality) == (0.05, 0.02, truth.high_quality)
    a, b = torch.rand(2, 50, 1, dtype=torch.float64) * truth.lengths
    assert torch.allclose(flat.geodesic(flat.embed(a), flat.embed(b)), truth.geodesic(truth.embed(a), truth.embed(b)))


def test_wide_noise_lands_on_the_other_sheet_and_is_told_by_the_density_alone():
    truth = Hairpin(2, LENGTH, 0.2, 0.05, 0.1)
    samples, modes = truth.sample(20_000, torch.Generator().manual_seed(0))
    assert (truth.assign(samples) == 3 - modes).double().mean() == pytest.approx(norm.sf(1) - norm.sf(5), abs=0.02)
    middle = torch.tensor([[1.0, 0.1]], dtype=torch.float64)
    beside = torch.tensor([[1.0, -0.1]], dtype=torch.float64)
    one, far = norm(0, 0.1).pdf(0.1), norm(0, 0.1).pdf(0.3)
    ratio = float((truth.log_density(middle) - truth.log_density(beside)).exp())
    assert ratio == pytest.approx(2 * one / (one + far), rel=1e-6)  # the bend, 3 away, adds nothing


@pytest.mark.parametrize("name", ["modes", "length", "gap", "tangential_std", "normal_std"])
def test_arguments_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got -1"):
        HairpinDataModule(batch_size=1, **{name: -1})


def test_modes_must_fit_on_the_sheets():
    with pytest.raises(ValueError, match=r"tangential_std = 0.1 needs 0.3 around each mode, and mode 0 has 0.25"):
        HairpinDataModule(batch_size=1, tangential_std=0.1)


def test_noise_follows_the_gap_unless_it_is_given():
    assert HairpinDataModule(batch_size=1, gap=2.0).truth.normal_std == pytest.approx(1 / 6)
    assert HairpinDataModule(batch_size=1, gap=2.0, normal_std=0.01).truth.normal_std == 0.01
    assert HairpinDataModule(batch_size=1, unrolled=True).truth.reach == math.inf
