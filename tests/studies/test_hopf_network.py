"""The claim on a real network holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from functools import partial

import pytest

from gan_modules.penalties import R1
from studies import hopf_network
from studies.__main__ import main

SMALL = {"seeds": 1, "rows": 64, "hidden": 6, "iterations": 400, "burn": 150, "watch": 100, "past": 800}


@pytest.fixture
def status(tmp_path):
    """A function () -> exit status of the study, small."""
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    return lambda: main(["hopf_network", "--out", str(tmp_path), *settings])


def test_prediction_and_measurement_agree(status):
    assert status() == 0


def test_training_at_another_rate_than_it_says(status, monkeypatch):
    right = hopf_network._play
    monkeypatch.setattr(hopf_network, "_play", lambda game, batch, lr: right(game, batch, 1.1 * lr))
    assert status() == 1


@pytest.mark.slow
def test_a_penalty_of_the_wrong_sign(status, monkeypatch):
    class Reversed(R1):
        def discriminator(self, d):
            return -super().discriminator(d)

    monkeypatch.setattr(hopf_network, "R1", Reversed)
    assert status() == 1


@pytest.mark.slow
def test_a_jacobian_without_its_twist(status, monkeypatch):
    right = hopf_network.dense

    def untwisted(jacobian):
        whole = right(jacobian)
        whole.matrix[: whole.sizes[0], whole.sizes[0] :] = 0
        return whole

    monkeypatch.setattr(hopf_network, "dense", untwisted)
    monkeypatch.setattr(hopf_network, "_newton", partial(hopf_network._newton, tolerance=1e-4))
    assert status() == 1
