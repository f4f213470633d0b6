"""The claim on robust discriminators holds at a small size, and a wrong adversary breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules.augmentation import AdversarialPerturbation
from gan_modules.protocols import DISCRIMINATOR
from studies import robust_discriminator
from studies.__main__ import main


@pytest.fixture
def status(tmp_path, monkeypatch) -> Callable[..., int]:
    """A function (**settings) -> exit status of the study on ReLU discriminators, small."""
    monkeypatch.delitem(robust_discriminator.ACTIVATIONS, "softplus")

    def run(**settings: object) -> int:
        settings = {"seeds": 1, "h": 0.04, "steps": 200, "replicas": 2} | settings
        arguments = [f"--set={name}={value}" for name, value in settings.items()]
        return main(["robust_discriminator", "--out", str(tmp_path), *arguments])

    return run


def test_holds(status):
    assert status(eps=0.1) == 0


def test_an_adversary_that_helps_the_discriminator(status, monkeypatch):
    right = AdversarialPerturbation.answer
    monkeypatch.setattr(AdversarialPerturbation, "answer", lambda *args: [-delta for delta in right(*args)])
    assert status(eps=0.1, steps=30) == 1


def test_an_adversary_of_real_rows_only_is_half_the_friction(monkeypatch):
    def play(fakes):
        adversary = AdversarialPerturbation(0.05, fakes=fakes)
        monkeypatch.setattr(robust_discriminator, "AdversarialPerturbation", lambda eps, fakes: adversary)
        path = robust_discriminator.play(robust_discriminator.ORDERS["alternating"], 0.02, 1.0, 7.0, 0.05)
        return robust_discriminator.lost_per_half_cycle(path, 0.05)

    assert play(True) == pytest.approx(4 * 0.05, rel=0.02)
    assert play(False) == pytest.approx(2 * 0.05, rel=0.02)


def test_no_adversary_smooths_nothing(status, monkeypatch):
    right = AdversarialPerturbation.__call__

    def idle(self, real, fake, view):
        on_points = real.ndim == 2 and view.player == DISCRIMINATOR  # friction is left as it is
        return right(self, real, fake, view) if on_points else (real, fake)

    monkeypatch.setattr(AdversarialPerturbation, "__call__", idle)
    assert status(eps=0.1, steps=30) == 1
