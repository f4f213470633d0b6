"""The claim on weight clipping holds at a small size, and one wrong constant or clipping left out breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from gan_modules.losses import Lipschitz
from gan_modules.networks import activations
from gan_modules.penalties import GradientPenalty, WeightClipping
from studies import weight_clipping
from studies.__main__ import main


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (*names of critics, iterations) -> exit status of the study, small."""

    def run(*names: str, **settings: object) -> int:
        small = {"seeds": 1, "steps": 300, "rows": 64, "iterations": 0, "critics": names} | settings
        return main(["weight_clipping", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in small.items())])

    return run


def test_gradients_corners_and_simple_critics_hold(status):
    assert status(*weight_clipping.CRITICS, iterations=80) == 0


def test_a_slope_that_lets_every_unit_through(status, monkeypatch):
    monkeypatch.setitem(activations.ACTIVATIONS, "relu", nn.Identity)
    assert status() == 1


def test_weights_that_are_not_clipped(status, monkeypatch):
    monkeypatch.setattr(WeightClipping, "apply", lambda self, discriminator: None)
    assert status("clipped, c = 0.01") == 1


def test_a_gradient_penalty_that_is_left_out(status, monkeypatch):
    right = GradientPenalty.discriminator
    monkeypatch.setattr(GradientPenalty, "discriminator", lambda self, d: 0 * right(self, d))
    assert status("gradient penalty") == 1


def test_a_generator_that_moves_away(status, monkeypatch):
    right = Lipschitz.generator
    monkeypatch.setattr(Lipschitz, "generator", lambda self, d: -right(self, d))
    assert status(iterations=40) == 1
