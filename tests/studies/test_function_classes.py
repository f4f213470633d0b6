"""The claim on function classes holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules.losses import Bounded, FisherBall, SobolevBall
from gan_modules.penalties import GradientPenalty, Orthonormal
from studies import function_classes
from studies.__main__ import main
from studies.function_classes import RULERS, FunctionClasses


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (*names of rulers) -> exit status of the study by them, at shift 1."""

    def run(*names: str) -> int:
        settings = {"steps": 250, "batch": 256, "samples": 50_000, "pairs": 10_000, "shifted": False}
        settings |= {"tolerance": 0.04, "rulers": names}
        arguments = [f"--set={name}={value}" for name, value in settings.items()]
        return main(["function_classes", "--seeds", "1", "--out", str(tmp_path), *arguments])

    return run


def test_every_ruler_holds(status):
    assert status(*(ruler.name for ruler in RULERS)) == 0


def test_a_bound_that_is_doubled(status, monkeypatch):
    monkeypatch.setattr(Bounded, "critic", lambda self, logits, d: logits.tanh())
    assert status("total variation") == 1


def test_a_square_for_a_distance(status, monkeypatch):
    right = function_classes.discrepancy
    monkeypatch.setattr(function_classes, "discrepancy", lambda kernel, m: right(kernel, m) ** 2)
    assert status("MMD, Gaussian 0.5") == 1


@pytest.mark.parametrize(("ball", "name"), [(FisherBall, "Fisher"), (SobolevBall, "Sobolev")])
def test_a_mean_square_without_its_half(status, monkeypatch, ball, name):
    right = ball.square
    monkeypatch.setattr(ball, "square", lambda self, d, rows: 2 * right(self, d, rows))
    assert status(name) == 1


def test_a_penalty_of_another_weight(status, monkeypatch):
    right = GradientPenalty.discriminator
    monkeypatch.setattr(GradientPenalty, "discriminator", lambda self, d: 0.2 * right(self, d))
    assert status("W1 + penalty's excess, weight 10") == 1


def test_weights_that_are_not_orthonormal(status, monkeypatch):
    monkeypatch.setattr(Orthonormal, "prepare", lambda self, discriminator: None)
    assert status("W1, orthonormal layers") == 1


@pytest.mark.slow
def test_what_no_class_holds_is_as_predicted():
    study = FunctionClasses(seeds=2)
    assert all(row.holds for row in (*study._two_sided(), *study._clipped(), *study._mean_features()))
