"""The claim on bilinear games holds at a small size, and one wrong sign or constant breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules import BilinearGame, rules
from studies.__main__ import main
from studies.bilinear_rules import CASES

SMALL = {"seeds": 2, "shape": (1, 2), "rates": 1, "iterations": 30, "long": 120}


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (*names of rules) -> exit status of the study on them."""

    def run(*names: str) -> int:
        settings = [f"--set={name}={value}" for name, value in {**SMALL, "rules": names}.items()]
        return main(["bilinear_rules", "--out", str(tmp_path), *settings])

    return run


def test_every_rule_holds(status):
    assert {type(case.make(0.1)).__name__ for case in CASES} == set(rules.__all__) - {"Cost", "Draw", "UpdateRule"}
    assert status(*(case.name for case in CASES)) == 0


def test_optimism_of_the_wrong_sign(status, monkeypatch):
    right = rules.Optimistic.step

    def step(self, game, optimizers, draw, state):
        return right(self, game, optimizers, draw, [-last for last in state])

    monkeypatch.setattr(rules.Optimistic, "step", step)
    assert status("optimistic") == 1


def test_a_game_of_the_wrong_sign(status, monkeypatch):
    right = BilinearGame.loss
    monkeypatch.setattr(BilinearGame, "loss", lambda self, player, u, v: right(self, player, u, v) * (1 - 2 * player))
    assert status("extragradient") == 1


def test_a_rate_that_is_one_in_a_thousand_off(status, monkeypatch):
    right = BilinearGame.rates
    monkeypatch.setattr(BilinearGame, "rates", lambda self, rule, lr: 1.001 * right(self, rule, lr))
    assert status("simultaneous") == 1
