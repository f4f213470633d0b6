"""The sphere against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, vonmises_fisher, wasserstein_distance
from torch.utils._python_dispatch import TorchDispatchMode

from datamodules import SphereDataModule
from datamodules.sphere import scattered
from datamodules.truth import Sphere


@pytest.mark.parametrize("dimension", [2, 3, 4, 50])
def test_geodesics_are_arcs_exact_near_and_far(dimension):
    truth = Sphere(torch.eye(dimension), 2.0, 0.1, 0.1)
    a = torch.eye(dimension, dtype=torch.float64)[0]
    for angle in (0.0, 1e-9, 1e-5, 1.0, 3.0, math.pi - 1e-9, math.pi):
        b = torch.zeros(dimension, dtype=torch.float64)
        b[0], b[1] = math.cos(angle), math.sin(angle)
        assert float(truth.geodesic(5 * a, 0.1 * b)) == pytest.approx(2 * angle, rel=1e-6, abs=1e-15)


def test_a_straight_line_is_at_least_two_over_pi_of_the_arc():
    truth = Sphere(torch.eye(3), 1.5, 0.1, 0.1)
    x = truth.project(torch.randn(500, 3, generator=torch.Generator().manual_seed(0)))
    chord, arc = torch.cdist(x, x), truth.geodesic(x[:, None], x)
    apart = arc > 1e-6
    assert (chord[apart] / arc[apart]).min() >= 2 / math.pi - 1e-12
    opposite = torch.stack([x[0], -x[0]])
    assert float((opposite[0] - opposite[1]).norm() / truth.geodesic(*opposite)) == pytest.approx(2 / math.pi)
    # so W1 of a mass moved to the antipode is off by no more; along a great circle, the line's own W1 tells it
    assert float(truth.geodesic(*opposite)) == pytest.approx(wasserstein_distance([0.0], [1.5 * math.pi]))


@pytest.mark.parametrize("dimension", [2, 3, 5])
@pytest.mark.parametrize("std", [0.1, 0.8])
def test_a_mode_has_mass_one_on_the_sphere(dimension, std):
    """Density times the normal's, integrated over the angle from the centre, along which all directions are equal."""
    centre = torch.eye(dimension, dtype=torch.float64)[:1]
    truth = Sphere(centre, 1.0, std, 1e-3)
    angle = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    x = torch.zeros(len(angle), dimension, dtype=torch.float64)
    x[:, 0], x[:, 1] = angle.cos(), angle.sin()
    density = truth.log_density(x).exp() / norm(0, 1e-3).pdf(0)
    area = 2 * math.pi ** ((dimension - 1) / 2) / math.gamma((dimension - 1) / 2)
    mass = area * np.trapezoid(density * angle.sin() ** (dimension - 2), angle)
    assert mass == pytest.approx(1, abs=5e-4)


def test_narrow_modes_are_von_mises_fisher_distributions():
    std, centre = 0.02, np.array([0.0, 0.6, 0.8])
    truth = Sphere(torch.from_numpy(centre)[None], 1.0, std, 0.05)
    samples, _ = truth.sample(200, torch.Generator().manual_seed(0))
    on = truth.project(samples)
    ours = truth.log_density(on) - norm(0, 0.05).logpdf(0)
    assert np.allclose(ours, vonmises_fisher(centre, 1 / std**2).logpdf(on.numpy()), atol=5e-3)


def test_scattered_directions_are_far_from_each_other():
    for n, dimension, least in ((12, 3, 0.75), (8, 2, 0.55), (6, 10, 1.2)):
        directions = scattered(n, dimension)
        assert torch.allclose(directions.norm(dim=1), torch.ones(n, dtype=torch.float64))
        assert torch.pdist(directions).min() > least
        assert torch.equal(directions, scattered(n, dimension))


def test_samples_in_many_dimensions_take_memory_in_proportion():
    truth, n = Sphere(torch.eye(200)[:2], 1.0, 0.01, 0.01), 2_000
    sizes = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.append(result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    with Sizes():
        samples, modes = truth.sample(n, torch.Generator().manual_seed(0))
    assert max(sizes) <= n * 200  # the tangent spaces' axes would be 199 times that
    steps = truth.geodesic(samples, truth.means[modes]).square().mean()
    assert steps == pytest.approx(199 * 0.01**2, rel=0.01)


def test_the_centre_is_as_near_to_every_point():
    truth = Sphere(torch.eye(3), 2.0, 0.1, 0.1)
    assert truth.project(torch.zeros(1, 3)).norm() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"radius": 0}, "radius must be positive and finite, got 0"),
        ({"dimension": 1}, r"shape \(K, d >= 2\)"),
        ({"modes": 0}, "modes must be positive and finite, got 0"),
        ({"tangential_std": 1.2}, r"needs .* around each mode, and mode 0 has 3.142"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SphereDataModule(batch_size=1, **kwargs)


@pytest.mark.parametrize("centres", [torch.zeros(1, 3), torch.ones(3), torch.full((1, 2), math.nan)])
def test_bad_centres_are_refused(centres):
    with pytest.raises(ValueError, match=r"finite, not 0 and of shape"):
        Sphere(centres, 1.0, 0.1, 0.1)
    with pytest.raises(ValueError, match="two of the 2 centres have one direction"):
        Sphere(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), 1.0, 0.1, 0.1)
