"""The claim on the Hopf bifurcation holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules import HopfGame
from gan_modules.losses import Minimax
from gan_modules.penalties import R1
from studies import hopf
from studies.__main__ import main
from studies.hopf import Model, QuarticPenalty

SMALL = {"seeds": 1, "near": 0.04, "excesses": (0.03, 0.06), "fitted": 2, "window": 250}


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (*names of models, subcritical) -> exit status of the study on them."""

    def run(*names: str, subcritical: bool = False) -> int:
        settings = {**SMALL, "models": names, "subcritical": subcritical}
        return main(["hopf", "--out", str(tmp_path), *(f"--set={name}={value}" for name, value in settings.items())])

    return run


def test_limits_radii_and_exponents_hold(status):
    assert status("normal form", "non-saturating") == 0


@pytest.mark.slow
def test_the_subcritical_case_is_told_apart(status):
    assert status(subcritical=True) == 0


def test_a_penalty_without_its_half(status, monkeypatch):
    right = R1.discriminator
    monkeypatch.setattr(R1, "discriminator", lambda self, d: 2 * right(self, d))
    assert status("non-saturating") == 1


def test_a_penalty_of_the_wrong_sign(status, monkeypatch):
    right = QuarticPenalty.discriminator
    monkeypatch.setattr(QuarticPenalty, "discriminator", lambda self, d: -right(self, d))
    assert status("Wasserstein") == 1


def test_a_radius_with_the_wrong_constant(status, monkeypatch):
    right = Model.radius
    monkeypatch.setattr(Model, "radius", lambda self, h: 1.1 * right(self, h))
    assert status("normal form") == 1


def test_damping_of_the_wrong_sign(status, monkeypatch):
    right = HopfGame.__init__
    monkeypatch.setattr(HopfGame, "__init__", lambda self, a, w, c, **k: right(self, -a, w, c, **k))
    assert status("normal form") == 1


@pytest.mark.slow
def test_a_loss_that_is_always_supercritical(status, monkeypatch):
    monkeypatch.setattr(hopf, "NonSaturating", Minimax)
    assert status(subcritical=True) == 1
