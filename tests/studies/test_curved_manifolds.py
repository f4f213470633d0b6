"""The study of curved manifolds: its parts hold, and a wrong constant, sign or control breaks it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from datamodules.seeding import keyed_generator
from studies import curved_manifolds, gap_signal, hairpin_gans
from studies.__main__ import main
from studies.curved_manifolds import NARROW, WASSERSTEIN
from studies.gap_signal import OBJECTIVES, across, angle, in_the_bend, logistic_signal
from studies.hairpin_gans import LENGTH, LOSSES, MODES, Task, measures, trained


@pytest.fixture
def status(tmp_path, monkeypatch) -> Callable[..., int]:
    """A function (parameters) -> exit status of the study at a small size, of which only what is named is run."""

    def run(draw: bool = False, **parameters: object) -> int:
        if not draw:
            monkeypatch.setattr(curved_manifolds.CurvedManifolds, "figure", lambda self, findings: None)
        settings = {"seeds": 1, "gaps": (0.5,), "losses": (), "steps": 0, "signal_steps": 0, "longer": 0} | parameters
        return main(["curved_manifolds", "--out", str(tmp_path), *(f"--set={k}={v!r}" for k, v in settings.items())])

    return run


@pytest.fixture
def generated(monkeypatch):
    """A function that makes trained GANs out of one, (task, samples (N, 2) of the data) -> samples."""

    def stand_in(make):
        def left(task, root, samples):
            x, _ = task.truth().sample(samples, keyed_generator("stand-in", task.seed))
            fake = x[: samples // 5]
            return {
                "samples": make(task, x).numpy(), "fake": fake.numpy(), "push": torch.ones_like(fake).numpy()
            }  # fmt: skip

        monkeypatch.setattr(curved_manifolds, "trained", left)

    return stand_in


def into_the_gap(task, x):
    """Of what is on the lower sheet a share goes to the middle, more of it as the gap narrows; on a line nothing."""
    if task.unrolled:
        return x
    share = 80 if task.gap < 1 else 10
    moved = (x[:, 1] < task.gap / 2) & (torch.arange(len(x)) % 100 < share)
    middle = torch.tensor(0.49 * task.gap, dtype=torch.float64)
    return torch.stack([x[:, 0], torch.where(moved, middle, x[:, 1])], 1)


# --- the study --------------------------------------------------------------------------------------------------------


def test_ratios_and_signals_hold(status, monkeypatch):
    monkeypatch.setattr(curved_manifolds, "STEEPNESS", (1.0,))
    assert status(signal_steps=300) == 0


def test_directions_hold(status, monkeypatch):
    monkeypatch.setattr(curved_manifolds, "CASES", ("sheet", "line"))
    monkeypatch.setattr(curved_manifolds.CurvedManifolds, "_gans", lambda self, run: ({}, {}))
    assert status(losses=(WASSERSTEIN,), steps=250) == 0


def test_gans_that_fill_the_gap_hold_and_perfect_ones_do_not(status, generated):
    few = {"gaps": (2.0, NARROW), "losses": ("R1GAN",), "samples": 2000, "seeds": 2}
    generated(into_the_gap)
    assert status(draw=True, **few) == 0
    generated(lambda task, x: x)
    assert status(**few) == 1


def test_a_wrong_signal_breaks_it(status, monkeypatch):
    wrong = dataclasses.replace(OBJECTIVES["logistic"], signal=lambda x: logistic_signal(1.01 * x))
    monkeypatch.setitem(OBJECTIVES, "logistic", wrong)
    assert status() == 1


def test_a_bend_of_another_length_breaks_it(status, monkeypatch):
    made = curved_manifolds.hairpin
    monkeypatch.setattr(curved_manifolds, "hairpin", lambda gap, modes, length: made(gap, modes, 1.01 * length))
    assert status() == 1


def test_a_direction_of_the_wrong_sign_breaks_it(status, monkeypatch):
    monkeypatch.setattr(curved_manifolds, "CASES", ("line",))
    monkeypatch.setattr(curved_manifolds.CurvedManifolds, "_gans", lambda self, run: ({}, {}))
    right = gap_signal.Displaced.geodesic_direction
    monkeypatch.setattr(gap_signal.Displaced, "geodesic_direction", lambda self: -right(self))
    monkeypatch.setattr(curved_manifolds.Displaced, "chord_angle", lambda self: 0.0)
    assert status(losses=(WASSERSTEIN,), steps=150) == 1


def test_an_unknown_loss_is_named(status, capsys):
    assert status(losses=("LSGAN",)) == 1


@pytest.mark.slow
def test_gans_are_trained_and_judged(status):
    assert status(losses=tuple(LOSSES), iterations=30, samples=1000, steps=5, longer=2, gaps=(2.0, NARROW)) == 1


# --- its parts --------------------------------------------------------------------------------------------------------


def test_the_logistic_signal_ends_at_the_divergence_and_starts_as_half_the_slope():
    """2 JS of (1, 1) and (0, 2), masses of p: 3 log(4/3)."""
    assert logistic_signal(60.0) == pytest.approx(3 * math.log(4 / 3), rel=1e-12)
    assert logistic_signal(1e-4) / 1e-4 == pytest.approx(0.5, rel=1e-4)


def test_what_is_out_of_place_is_told_apart_and_lies_where_it_was_put():
    for case, place in ((across(0.5, MODES, LENGTH), (0.75, 0.0)), (in_the_bend(0.5, MODES, LENGTH), (4.25, 0.25))):
        real, fake, moved = case.rows(2000, keyed_generator("rows"))
        there = torch.tensor([place])
        assert (fake[moved] - there).norm(dim=1).max() < 0.25
        assert ((fake[~moved] - case.truth.means[case.mode]).norm(dim=1) > 0.25).all()
        assert moved.double().mean() == pytest.approx(1 / 16, abs=0.025)
        assert real.shape == fake.shape == (2000, 2)


def test_the_straight_way_leaves_the_curve_by_its_angle():
    assert across(0.5, MODES, LENGTH).chord_angle() == pytest.approx(90)
    assert across(0.5, MODES, LENGTH, unrolled=True).chord_angle() == pytest.approx(0, abs=1e-4)
    for gap in (2.0, 0.5):  # from (L + gap / 2, gap / 2), heading down, to (L - 1/4, 0)
        expected = math.degrees(math.atan2(gap / 2 + 0.25, gap / 2))
        assert in_the_bend(gap, MODES, LENGTH).chord_angle() == pytest.approx(expected)
    assert angle(torch.tensor([1.0, 0.0]), torch.tensor([0.0, -2.0])) == pytest.approx(90)


def test_measures_of_a_perfect_sampler_are_at_their_floors():
    for unrolled in (False, True):
        task = Task(WASSERSTEIN, 0.5, unrolled, 0)
        found = measures(task, left_by(task.truth().sample(10_000, keyed_generator("perfect"))[0]))
        assert found["off the curve"] == pytest.approx(0.0027, abs=0.002)
        assert found["modes"] == 16
        assert found["coverage"] > 0.95
        assert found["imbalance"] < 0.04
        assert found["geodesic W1"] == pytest.approx(0, abs=0.05)
        assert found["straight W1"] == pytest.approx(0, abs=0.1)  # of 500 points


def test_mass_across_the_gap_is_seen_along_the_curve_and_hardly_in_the_plane():
    """Moving all of the upper mode at x = .75 down costs gap / 16 in the plane, and (2 (L - x) + pi gap / 2) / 16."""
    task = Task(WASSERSTEIN, NARROW, False, 0)
    x, modes = task.truth().sample(10_000, keyed_generator("across"))
    moved = x.clone()
    moved[modes == 2 * MODES - 2] -= torch.tensor([0.0, NARROW])
    before, after = measures(task, left_by(x)), measures(task, left_by(moved))
    way = (2 * (LENGTH - 0.75) + math.pi * NARROW / 2) / 16
    assert after["geodesic W1"] - before["geodesic W1"] == pytest.approx(way, abs=0.1)
    assert abs(after["straight W1"] - before["straight W1"]) < 0.03
    assert after["imbalance"] - before["imbalance"] == pytest.approx(1 / 8, abs=0.02)
    assert (before["modes"], after["modes"]) == (16, 15)


def test_pushes_along_the_curve_and_across_it_are_told_apart():
    task = Task(WASSERSTEIN, 2.0, False, 0)
    truth = task.truth()
    x = truth.sample(2000, keyed_generator("pushed"))[0]
    at = truth.locate(x)
    for frame, degrees in ((truth.tangents, 0), (truth.normals, 90)):
        found = measures(task, left_by(x, 3 * frame(at)[:, 0]))
        assert found["angle, sheets"] == pytest.approx(degrees, abs=1e-3)
        assert found["push, sheets"] == pytest.approx(3)
        assert math.isnan(found["angle, bend"])


def test_what_is_all_at_the_start_is_pushed_the_right_way_along_the_curve():
    task = Task(WASSERSTEIN, 2.0, False, 0)
    x = torch.tensor([[0.1, 0.0]], dtype=torch.float64).repeat(1000, 1) + torch.linspace(0, 0.01, 1000)[:, None]
    right = measures(task, left_by(x, torch.tensor([[1.0, 0.0]]).repeat(1000, 1)))["right way, sheets"]
    assert right > 0.99


def test_a_run_is_kept(tmp_path, monkeypatch):
    task = Task(WASSERSTEIN, 0.5, True, 3, iterations=6, batch=16, width=8)
    first = trained(task, tmp_path, samples=50)
    assert first["samples"].shape == (50, 2)
    assert first["fake"].shape == first["push"].shape == (10, 2)
    monkeypatch.setattr(hairpin_gans, "_fit", lambda *args: pytest.fail("trained again"))
    again = trained(task, tmp_path, samples=50)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def left_by(x, push=None):
    fake = x[:2000]
    push = torch.ones_like(fake) if push is None else push
    return {"samples": x.numpy(), "fake": fake.numpy(), "push": push.double().numpy()}
