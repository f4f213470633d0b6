"""The claim on gradient penalties holds at a small size, and one wrong sign, constant or norm breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties import GradientPenalty
from studies import gradient_penalty
from studies.__main__ import main


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (parts of the study) -> exit status of the study on them, small."""

    def run(**parts: object) -> int:
        none = {"kept": (), "pairs": (), "deep": ()}
        settings = {"seeds": 1, "steps": 300, "rows": 64} | none | parts
        return main(["gradient_penalty", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in settings.items())])

    return run


FOLDS = {"pairs": ("two modes",), "sides": ("one-sided",), "rows": 128}


def test_slopes_hold(status):
    assert status(kept=("two-sided", "clipped at 0.01", "two-sided, norm of the batch")) == 0


def test_distances_hold(status):
    assert status(**FOLDS) == 0


def test_deep_critics_hold(status):
    assert status(deep=("one-sided, weight 10", "clipped at 0.01")) == 0


@pytest.mark.slow
def test_everything_holds(status):
    everything = {"kept": gradient_penalty.KEPT, "pairs": gradient_penalty.PAIRS, "deep": gradient_penalty.DEEP}
    # at the default size: distances are judged by their mean over seeds
    assert status(seeds=5, rows=128, steps=400, **{name: tuple(parts) for name, parts in everything.items()}) == 0


def test_one_norm_for_all_rows(status, monkeypatch):
    right = DiscriminatorPass.gradient_of
    monkeypatch.setattr(DiscriminatorPass, "gradient_of", lambda self, x: right(self, x).reshape(1, -1))
    assert status(kept=("two-sided",)) == 1


def test_a_penalty_of_half_the_weight(status, monkeypatch):
    right = GradientPenalty.discriminator
    monkeypatch.setattr(GradientPenalty, "discriminator", lambda self, d: right(self, d) / 2)
    assert status(**FOLDS) == 1


def test_a_distance_that_is_off(status, monkeypatch):
    pair, distance = gradient_penalty.PAIRS["two modes"]
    monkeypatch.setitem(gradient_penalty.PAIRS, "two modes", (pair, 1.04 * distance))
    assert status(**FOLDS) == 1


@pytest.mark.slow
def test_points_that_are_all_real(status, monkeypatch):
    monkeypatch.setattr(GradientPenalty, "_points", lambda self, d: torch.clone(d.real))
    assert status(**FOLDS) == 1
