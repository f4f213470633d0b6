"""The claim on whitening holds at a small size, and one wrong sign, constant or whitening breaks it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from datamodules.whitening import ZCAWhitening
from gan_modules.dynamics import GameJacobian, dense
from gan_modules.rules import Simultaneous
from studies import whitening_digits, whitening_gaussian
from studies.__main__ import main
from studies.whitening_digits import FEATURES, Training
from studies.whitening_gaussian import LocationGAN


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (**settings) -> exit status of the study, small."""

    def run(**settings: object) -> int:
        settings = {"seeds": 1} | settings
        return main(["whitening", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in settings.items())])

    return run


GAUSSIANS = {"conditions": (10, 100), "play_up_to": 100, "games": ()}
DIGITS = {"conditions": (), "spaces": ("raw", "power .5", "power 1")}


def test_gaussians_hold(status):
    assert status(**GAUSSIANS) == 0


def test_a_whitening_that_only_centres(status, monkeypatch):
    monkeypatch.setattr(ZCAWhitening, "forward", lambda self, x: x - self.mean)
    assert status(**GAUSSIANS) == 1


def test_a_discriminator_at_half_the_rate(status, monkeypatch):
    right = LocationGAN.gradient

    def halved(self, player, batch, *, shared=False):
        right(self, player, batch)
        self.players[player].x.grad /= 1 + player

    monkeypatch.setattr(LocationGAN, "gradient", halved)
    assert status(**GAUSSIANS) == 1


@pytest.mark.parametrize("player", [0, 1])
def test_the_gradient_is_that_of_the_loss(player):
    sets = [whitening_gaussian.data_set(arm, 10, 0) for arm in (whitening_gaussian.DAMPED, whitening_gaussian.WHITENED)]
    rows, penalty = (torch.stack(parts) for parts in zip(*sets, strict=True))
    rates = torch.tensor([0.7, 0.3], dtype=torch.float64)
    game = LocationGAN(rows + 0.2, rates, penalty, 50 * whitening_gaussian.started(2))
    game.gradient(player, game.batch())
    (expected,) = torch.autograd.grad(game.player_loss(player, game.batch()), game.players[player].x)
    assert torch.allclose(game.players[player].x.grad, expected, atol=1e-12)


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


@pytest.fixture
def stand_in(monkeypatch):
    """A function (distances by space and features) that stands in for training; the list of what was asked for."""

    def use(distance):
        asked = []

        def trained(training):
            asked.append(training)
            ends = {name: distance(training.space, name) * (2 - 1e-9) ** (training.lr != 3e-3) for name in FEATURES}
            variance = whitening_digits.eigendirections()[1] * (0.5 if training.space == "raw" else 0.75)
            error = (0.0 if training.space == "raw" else 1.0) * np.sqrt(variance) * (np.arange(len(variance)) < 10)
            return {"path": [{"iteration": 10, **ends}], "shift": error.tolist(), "variance": variance.tolist()}

        monkeypatch.setattr(whitening_digits, "trained", trained)
        return asked

    return use


def as_measured(space, features):
    """Full whitening worse, half whitening worse for the classifier and better in pixels."""
    return {"power 1": 3.0, "power .5": 1.5 if features == "classifier" else 0.9}.get(space, 1.0)


def test_digits_hold_as_measured(status, stand_in):
    asked = stand_in(as_measured)
    assert status(**DIGITS) == 0
    assert {run.lr for run in asked if run.seed == 100} == {0.000333, 0.001, 0.003, 0.009}  # beyond the edge
    assert {run.lr for run in asked if run.seed == 0} == {0.003}
    assert len(asked) == 3 * (4 + 1)


def test_runs_are_kept(stand_in, tmp_path):
    asked = stand_in(as_measured)
    wanted = [Training("R3GAN", space, 1e-3, 0, 10) for space in ("raw", "power 1")]
    first, again = (list(whitening_digits.runs(wanted, tmp_path)) for _ in range(2))
    assert first == again
    assert asked == wanted
    list(whitening_digits.runs([replace(wanted[0], evaluations=5)], tmp_path))
    assert len(asked) == 3


def test_a_full_whitening_that_does_no_harm(status, stand_in):
    stand_in(lambda space, features: 1.0 if space == "power 1" else as_measured(space, features))
    assert status(**DIGITS) == 1


def test_a_space_of_another_total_variance(status, stand_in, monkeypatch):
    stand_in(as_measured)
    monkeypatch.setattr(whitening_digits, "_total_variance", lambda rows: torch.tensor(1.0))
    assert status(**DIGITS) == 1


def test_a_run_on_digits_is_a_function_of_its_seed_and_may_be_lost(monkeypatch):
    run = partial(Training, "R3GAN", "power .5", iterations=4, evaluations=2)
    first, again, other = (whitening_digits.trained(run(lr=1e-3, seed=seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert [at["iteration"] for at in first["path"]] == [2, 4]
    lost = whitening_digits.trained(run(lr=1e30, seed=0))
    assert [at["classifier"] for at in lost["path"]] == [math.inf, math.inf]
