"""The claim on the Dirac-GAN holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules.losses import NonSaturating
from gan_modules.penalties import R1, WeightClipping
from studies import dirac_gan
from studies.__main__ import main
from studies.dirac_gan import METHODS, Method


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (*names of methods) -> exit status of the study on them."""

    def run(*names: str) -> int:
        settings = {"seeds": 1, "iterations": 240, "cycles": False, "methods": names}
        arguments = [f"--set={name}={value}" for name, value in settings.items()]
        return main(["dirac_gan", "--out", str(tmp_path), *arguments])

    return run


def test_every_method_holds(status):
    assert status(*(method.name for method in METHODS)) == 0


def test_the_generators_loss_of_the_wrong_sign(status, monkeypatch):
    right = NonSaturating.generator
    monkeypatch.setattr(NonSaturating, "generator", lambda self, d: -right(self, d))
    assert status("non-saturating") == 1


def test_a_penalty_without_its_half(status, monkeypatch):
    right = R1.discriminator
    monkeypatch.setattr(R1, "discriminator", lambda self, d: 2 * right(self, d))
    assert status("R1, gamma 0.3") == 1


def test_weights_that_are_not_clipped(status, monkeypatch):
    monkeypatch.setattr(WeightClipping, "apply", lambda self, discriminator: None)
    assert status("WGAN, clipped") == 1


def test_a_limit_with_the_wrong_constant(status, monkeypatch):
    right = Method.limit
    monkeypatch.setattr(Method, "limit", lambda self, order: 1.001 * right(self, order))
    assert status("consensus 0.3") == 1


@pytest.mark.slow
def test_the_cycles_hold_and_depend_on_the_box(monkeypatch):
    assert all(row.holds for measured in dirac_gan.CYCLES for row in measured())
    box = Method("WGAN, clipped", dirac_gan.Wasserstein(), {"constraint": WeightClipping(0.32)})
    monkeypatch.setattr(dirac_gan, "named", lambda name: box)
    assert not all(row.holds for row in dirac_gan.clipped())
