"""The claim on collapse holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.dynamics import GameJacobian, dense
from gan_modules.networks import MLPGenerator
from studies import collapse_landscape, two_points
from studies.__main__ import main
from studies.best_discriminator import Landscape

SMALL = {"seeds": 1, "rows": 128, "width": 12, "iterations": 400, "features": 96, "settling": 150, "steps": 150}


@pytest.fixture
def status(tmp_path, monkeypatch):
    """A function (changed settings) -> exit status of the study, small, and the names of the rows that failed."""
    monkeypatch.setattr(collapse_landscape, "WAY", (0.0, 0.5, 1.0))

    def run(**changed):
        settings = [f"--set={name}={value}" for name, value in (SMALL | changed).items()]
        found = main(["collapse_landscape", "--out", str(tmp_path), *settings])
        rows = json.loads((tmp_path / "collapse_landscape" / "results.json").read_text())["rows"]
        return found, [row["name"] for row in rows if not row["holds"]]

    return run


def test_holds(status):
    assert status() == (0, [])


def test_an_answer_of_the_wrong_sign(status, monkeypatch):
    right = Landscape.blocks

    def wrong(self):
        own, mixed, inner = right(self)
        return own, mixed, -inner

    monkeypatch.setattr(Landscape, "blocks", wrong)
    found, failed = status(iterations=20, settling=3, steps=5)  # too short for the modes, but not for these
    assert found == 1
    assert "total Hessian: products against the matrix" in failed
    assert "collapsed: smallest eigenvalue of total - frozen, / largest" in failed


@pytest.mark.slow
def test_a_discriminator_whose_slope_is_bounded_is_not_perfect(status, monkeypatch):
    right = Landscape.__init__
    monkeypatch.setattr(
        Landscape, "__init__", lambda self, *args, **kwargs: right(self, *args, **kwargs | {"gamma": 0.1})
    )
    found, failed = status()
    assert found == 1
    assert "from collapse, perfect D: modes" in failed
    assert "perfect D on R1's way out: barrier" in failed


@pytest.mark.parametrize(("name", "turned"), [("jensen_shannon", -1.0), ("pairing", 0.5), ("non_saturating", 2.0)])
def test_another_constant_on_two_points(name, turned, monkeypatch):
    right = getattr(two_points, name)

    def wrong(particles, **kwargs):
        return turned * right(particles, **kwargs)

    monkeypatch.setattr(two_points, name, wrong)
    for label, value in list(collapse_landscape.EXACT.items()):
        if value is right:
            monkeypatch.setitem(collapse_landscape.EXACT, label, wrong)
    monkeypatch.setattr(collapse_landscape, "WAY", (0.0, 0.5, 1.0))
    rows, _ = collapse_landscape.CollapseLandscape(steps=5)._two_points()
    assert not all(row.holds for row in rows if "trained" not in row.name)


def test_two_points_hold_as_they_are(monkeypatch):
    monkeypatch.setattr(collapse_landscape, "WAY", (0.0, 0.5, 1.0))
    rows, _ = collapse_landscape.CollapseLandscape(steps=150)._two_points()
    assert all(row.holds for row in rows)


def test_bounded_slopes_between_none_and_any():
    collapsed, away = (0.0, 0.0), (0.0, 0.5)
    assert two_points.bounded(collapsed, 0.0) == pytest.approx(-math.log(2))  # D sees nothing
    assert two_points.bounded(collapsed, 60.0) == pytest.approx(two_points.jensen_shannon(collapsed), abs=1e-6)
    assert two_points.bounded(away, 60.0) == pytest.approx(two_points.jensen_shannon(away), abs=1e-6)


@pytest.fixture(params=[("minimax", 0.0), ("minimax", 0.1), ("pairing", 0.1)], ids=lambda p: f"{p[0]}-{p[1]}")
def landscape(request):
    loss, gamma = request.param
    numbers = torch.Generator().manual_seed(0)
    real = torch.randn(40, 2, generator=numbers, dtype=torch.float64)
    z = torch.randn(40, 2, generator=numbers, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = MLPGenerator((2,), latent_dim=2, width=5, depth=2, activation="tanh").double()
    batch = GameBatch(real, z, RandomRows(0, 0, 0, 0, 40, 40, torch.device("cpu")), index=None)
    return Landscape(generator, batch, loss=loss, gamma=gamma, decay=1e-3, features=12, scale=0.8)


def test_the_best_discriminator_is_where_the_game_stands_still(landscape):
    value = landscape.value()
    jacobian = GameJacobian(landscape.game, landscape.batch)
    assert jacobian.field[1].norm() < 1e-10
    assert -jacobian.losses[1].item() == pytest.approx(value, abs=1e-12)
    assert_close(landscape.gradient()[1], -jacobian.field[0])


def test_blocks_by_the_chain_rule_are_those_of_autograd(landscape):
    own, mixed, inner = landscape.blocks()
    matrix, n = -dense(GameJacobian(landscape.game, landscape.batch)).matrix, len(own)
    for found, expected in (
        (own, matrix[:n, :n]),
        (mixed, matrix[:n, n:]),
        (-mixed.T, matrix[n:, :n]),
        (inner, matrix[n:, n:]),
    ):
        assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_the_loss_falls_at_every_step_and_no_sample_leaps(landscape):
    before, values = None, []
    for theta in landscape.settle(15, stride=0.03):
        with landscape.at(theta):
            values.append(landscape.value())
            samples = landscape.samples()
        assert before is None or (samples - before).norm(dim=1).max() <= 0.03 + 1e-12
        before = samples
    assert len(values) == 16
    assert all(later < earlier for earlier, later in pairwise(values))
