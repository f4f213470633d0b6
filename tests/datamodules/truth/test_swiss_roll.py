"""The swiss roll against closed forms and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from datamodules import SwissRollDataModule
from datamodules.truth import SwissRoll
from datamodules.truth.swiss_roll import FIRST, LAST, REACH


@pytest.fixture(scope="module")
def roll():
    return SwissRoll(10, 2, 21.0, 1.0, 0.6, 0.3)


def at(t, h=0.0):
    t = torch.as_tensor(t, dtype=torch.float64).reshape(-1)
    return torch.stack([t * t.cos(), torch.full_like(t, h), t * t.sin()], 1)


def test_the_spiral_is_89_long_and_arc_lengths_are_its_coordinates(roll):
    assert roll.lengths.tolist() == pytest.approx([89.37, 21.0], abs=0.005)
    assert roll.lengths[0].item() == pytest.approx(quad(lambda t: math.sqrt(1 + t * t), FIRST, LAST)[0], rel=1e-12)
    for t in (FIRST, 6.0, 9.9, LAST):
        s = quad(lambda t: math.sqrt(1 + t * t), FIRST, t)[0]
        assert torch.allclose(roll.embed(torch.tensor([[s, 3.0]], dtype=torch.float64)), at(t, 3.0), atol=1e-9)
        assert torch.allclose(roll.locate(at(t, 3.0)), torch.tensor([[s, 3.0]], dtype=torch.float64), atol=1e-9)


def test_a_turn_further_is_2_pi_in_space_and_far_along_the_roll(roll):
    inner, outer = at(2 * math.pi, 5.0), at(4 * math.pi, 5.0)
    assert float((inner - outer).norm()) == pytest.approx(2 * math.pi)
    arc = quad(lambda t: math.sqrt(1 + t * t), 2 * math.pi, 4 * math.pi)[0]
    assert float(roll.geodesic(inner, outer)) == pytest.approx(arc, rel=1e-9)
    raised = at(4 * math.pi, 12.0)
    assert float(roll.geodesic(inner, raised)) == pytest.approx(math.hypot(arc, 7.0), rel=1e-9)


def test_the_reach_is_that_of_federers_theorem():
    """The infimum over pairs of |q - p|^2 / (2 distance of q - p from the tangent cone at p)."""
    t = np.linspace(FIRST, LAST, 801)
    points = at(t).numpy()[:, [0, 2]]
    tangent = np.stack([np.cos(t) - t * np.sin(t), np.sin(t) + t * np.cos(t)], 1) / np.sqrt(1 + t * t)[:, None]
    apart = points[None] - points[:, None]
    along = np.einsum("pqd,pd->pq", apart, tangent)
    along[0], along[-1] = along[0].clip(min=0), along[-1].clip(max=0)  # at the ends the cone is half a line
    squared = (apart**2).sum(-1)
    off = np.sqrt((squared - along**2).clip(min=1e-30))
    ratio = np.where(squared > 1e-2, squared / (2 * off), np.inf)
    assert ratio.min() == pytest.approx(REACH, abs=2e-4)
    assert SwissRoll(10, 2, 21.0, 0.1, 0.06, 0.03).reach == pytest.approx(0.1 * REACH)


def test_curvature_is_that_of_the_spiral(roll):
    """By differences: the normal turns by curvature per length."""
    s = torch.tensor([[1.0, 0.0], [40.0, 0.0], [80.0, 0.0]], dtype=torch.float64)
    step = torch.tensor([1e-4, 0.0], dtype=torch.float64)
    turn = (roll.normals(s + step) - roll.normals(s - step))[:, 0].norm(dim=1) / 2e-4
    assert torch.allclose(turn, roll.curvature(s), rtol=1e-6)


def test_the_density_is_exact_where_noise_from_several_turns_meets():
    """Of an infinitely high roll, in the plane: a quadrature over the spiral of normals through a small disc."""
    truth = SwissRoll(3, 1, 50.0, 0.2, 0.8, 0.5)
    x, z = np.meshgrid(np.linspace(-6, 6, 241), np.linspace(-6, 6, 241))
    middle = np.stack([x.ravel(), np.full(x.size, 25.0), z.ravel()], 1)
    density = truth.log_density(torch.from_numpy(middle)).exp().numpy() / norm(0, 0.8).pdf(0)
    assert density.sum() * 0.05**2 == pytest.approx(1, abs=0.01)


def test_projections_are_nearest_wherever_a_point_is(roll):
    grid = torch.linspace(-18, 18, 40, dtype=torch.float64)
    x = torch.cartesian_prod(grid, torch.tensor([3.0], dtype=torch.float64), grid)
    spiral = at(torch.linspace(FIRST, LAST, 4001, dtype=torch.float64), 3.0)
    brute, nearest = torch.cdist(x, spiral).min(1).values, (x - roll.project(x)).norm(dim=1)
    assert (nearest <= brute + 1e-9).all()
    assert (brute - nearest).max() < 0.02  # the spacing of the brute force


@pytest.mark.parametrize("name", ["modes", "rows", "height", "scale", "tangential_std", "normal_std"])
def test_arguments_must_be_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got 0"):
        SwissRollDataModule(batch_size=1, **{name: 0})
