"""The flat torus against its circles."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from datamodules import TorusDataModule
from datamodules.truth import Torus


def at(first, second, radii=(2.0, 0.5)):
    a, b = radii
    return torch.tensor([a * math.cos(first), a * math.sin(first), b * math.cos(second), b * math.sin(second)]).double()


def test_geodesics_go_the_shorter_way_around_both_circles():
    truth = Torus(3, [2.0, 0.5], 0.1, 0.1)
    near = truth.geodesic(at(0.1, 6.2), at(2 * math.pi - 0.1, 0.1))
    assert float(near) == pytest.approx(math.hypot(2.0 * 0.2, 0.5 * (2 * math.pi - 6.1)), rel=1e-6)
    assert float(truth.geodesic(at(0, 0), at(math.pi, math.pi))) == pytest.approx(
        math.pi * math.hypot(2, 0.5), rel=1e-6
    )


def test_the_density_is_the_product_of_both_planes():
    truth = Torus(1, [2.0, 0.5], 0.1, 0.08)
    angle, offset = 0.05, 0.03
    x = at(angle, -angle) * torch.tensor([1 + offset / 2.0, 1 + offset / 2.0, 1 + offset / 0.5, 1 + offset / 0.5])
    expected = 0.0
    for radius in (2.0, 0.5):
        expected += norm(0, 0.1).logpdf(radius * angle) + norm(0, 0.08).logpdf(offset)
        expected -= math.log(1 + offset / radius)  # the plane is wider outside of the circle
    assert float(truth.log_density(x[None])) == pytest.approx(expected, abs=1e-6)


def test_modes_are_a_grid_on_both_circles():
    truth = TorusDataModule(batch_size=1, modes=4, radii=(1.0, 0.5)).truth
    assert truth.num_modes == 16
    pairs = truth.means.view(16, 2, 2)
    assert torch.allclose(pairs.norm(dim=2), torch.tensor([1.0, 0.5]).double().expand(16, 2))
    assert truth.geodesic(truth.means[0], truth.means[1]) == pytest.approx(0.25 * math.pi)
    assert truth.reach == 0.5


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"radii": (1.0,)}, r"radii must be two numbers, got \[1.0\]"),
        ({"radii": (1.0, 0.0)}, r"radii\[1\] must be positive and finite, got 0.0"),
        ({"modes": 0}, "modes must be positive and finite, got 0"),
        ({"tangential_std": 2.0}, "tangential_std = 2 needs"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TorusDataModule(batch_size=1, **kwargs)
