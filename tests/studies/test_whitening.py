"""The claim on whitening holds at a small size, and one wrong sign, constant or whitening breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from datamodules.whitening import ZCAWhitening
from gan_modules.dynamics import GameJacobian, dense
from gan_modules.rules import Simultaneous
from studies import whitening_gaussian
from studies.__main__ import main
from studies.whitening_gaussian import LocationGAN


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (**settings) -> exit status of the study on Gaussians, small."""

    def run(**settings: object) -> int:
        settings = {"seeds": 1, "conditions": (10, 100), "play_up_to": 100} | settings
        return main(["whitening", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in settings.items())])

    return run


def test_gaussians_hold(status):
    assert status() == 0


def test_a_whitening_that_only_centres(status, monkeypatch):
    monkeypatch.setattr(ZCAWhitening, "forward", lambda self, x: x - self.mean)
    assert status() == 1


def test_a_damping_of_half_the_weight(status, monkeypatch):
    right = LocationGAN.loss
    monkeypatch.setattr(LocationGAN, "loss", lambda self, player, u, v: right(self, player, u, v) * (1 - player / 2))
    assert status() == 1


def test_players_that_move_at_once_where_they_are_to_alternate(monkeypatch, tmp_path):
    monkeypatch.setitem(whitening_gaussian.RULES, "alternating", Simultaneous())
    assert whitening_gaussian.case(whitening_gaussian.RAW, 10, "alternating", 1, 100, tmp_path).predicted == [math.inf]


def test_the_jacobian_is_the_games_own():
    rows, penalty = whitening_gaussian.data_set(whitening_gaussian.DAMPED, 10, 0)
    game = LocationGAN(rows[None], torch.tensor([0.7], dtype=torch.float64), penalty[None])
    measured = dense(GameJacobian(game, game.batch())).matrix
    assert torch.allclose(measured, game.closed_form_jacobian().matrix, atol=1e-12)


def test_predictions_count_the_last_return_of_a_state_that_turns():
    turn = 0.999 * np.array([[0.0, -4.0], [0.25, 0.0]])  # its size goes up and down by 4 at every step
    start, steps = np.array([1.0, 0.0]), whitening_gaussian.predicted_steps(turn, np.array([1.0, 0.0]))
    sizes = [np.linalg.norm(start := turn @ start) for _ in range(2 * steps)]
    assert steps == 2 + max(k for k, size in enumerate(sizes) if size >= whitening_gaussian.TARGET)
