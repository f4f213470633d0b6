"""The claim on the value of minimax holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules.losses import Minimax
from studies import jensen_shannon
from studies.__main__ import main


@pytest.fixture
def status(tmp_path, monkeypatch) -> Callable[[], int]:
    """A function () -> exit status of the study, of one pair of Gaussians."""
    monkeypatch.setattr(jensen_shannon, "GAUSSIANS", ((1.0, 1.0),))

    def run() -> int:
        settings = {"steps": 150, "nodes": 256, "turns": 40, "steps_between": 10, "tolerance": 0.05}
        arguments = [f"--set={name}={value}" for name, value in settings.items()]
        return main(["jensen_shannon", "--seeds", "1", "--out", str(tmp_path), *arguments])

    return run


def test_holds(status):
    assert status() == 0


def test_a_generator_that_ascends(status, monkeypatch):
    right = Minimax.generator
    monkeypatch.setattr(Minimax, "generator", lambda self, d: -right(self, d))
    assert status() == 1


def test_a_discriminator_that_counts_fakes_twice(status, monkeypatch):
    right = Minimax.discriminator
    monkeypatch.setattr(Minimax, "discriminator", lambda self, d: right(self, d) - Minimax().generator(d))
    assert status() == 1


def test_bits_for_nats(status, monkeypatch):
    right = jensen_shannon.jensen_shannon
    monkeypatch.setattr(jensen_shannon, "jensen_shannon", lambda *args: right(*args) / jensen_shannon.LOG2)
    assert status() == 1
