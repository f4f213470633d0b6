"""The claim on the generator's gradient holds at a small size, and one wrong sign, constant or penalty breaks it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gan_modules.losses import Minimax, NonSaturating, Wasserstein
from gan_modules.penalties import GradientPenalty
from studies import vanishing_gradient
from studies.__main__ import main

SMALL = {
    "seeds": 1,
    "shifts": (4,),
    "gaussian_steps": 60,
    "probes": 5000,
    "marks": (0, 100, 250),
    "early": 20,
    "width": 64,
}


@pytest.fixture
def status(tmp_path) -> Callable[..., int]:
    """A function (**parameters) -> exit status of the study, small."""

    def run(**parameters: object) -> int:
        settings = [f"--set={name}={value}" for name, value in (SMALL | parameters).items()]
        return main(["vanishing_gradient", "--out", str(tmp_path), *settings])

    return run


def test_formulas_and_networks_agree(status):
    assert status() == 0


def test_a_discriminator_that_hardly_learns(status):
    assert status(lr=1e-6) == 1


def test_a_critic_of_slope_three(status, monkeypatch):
    logistic, _ = vanishing_gradient.DISCRIMINATORS
    steep = (Wasserstein(), (GradientPenalty(10.0, target=3.0),), ("Wasserstein",))
    monkeypatch.setattr(vanishing_gradient, "DISCRIMINATORS", (logistic, steep))
    assert status() == 1


def test_formulas_of_another_loss_or_discriminator(monkeypatch):
    assert all(row.holds for row in vanishing_gradient.formulas())
    right = vanishing_gradient.best_logits
    with monkeypatch.context() as patch:
        patch.setattr(vanishing_gradient, "best_logits", lambda x, m: -right(x, m))
        assert not all(row.holds for row in vanishing_gradient.formulas())
    with monkeypatch.context() as patch:
        patch.setattr(vanishing_gradient, "best_logits", lambda x, m: 1.01 * right(x, m))
        assert not all(row.holds for row in vanishing_gradient.formulas())
    monkeypatch.setattr(Minimax, "generator", NonSaturating.generator)
    assert not all(row.holds for row in vanishing_gradient.formulas())
