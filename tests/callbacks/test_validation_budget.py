"""Validation within a share of training time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from recipes import make, quiet_trainer, ring

from callbacks import ValidationBudget, validation_budget

pytestmark = pytest.mark.filterwarnings("ignore")
ITERATIONS = {"check_val_every_n_epoch": None, "val_check_interval": 2}


class Clock(Callback):
    """A clock by which an iteration takes 1 second and a validation ``cost``; logs the iteration as ``value``."""

    def __init__(self, cost: float) -> None:
        self.cost, self.now, self.validated = cost, 0.0, []

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.now += 1

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.now += self.cost
        self.validated.append(trainer.global_step)
        pl_module.log("value", float(trainer.global_step))


def run(monkeypatch: pytest.MonkeyPatch, cost: float, share: float, *more: Callback, **trainer: Any) -> list[int]:
    clock = Clock(cost)
    monkeypatch.setattr(validation_budget.time, "monotonic", lambda: clock.now)
    budget = ValidationBudget(share)
    settings = {"max_steps": 60, "num_sanity_val_steps": 0, **ITERATIONS} | trainer
    quiet_trainer(callbacks=[budget, clock, *more], **settings).fit(make("NSGAN"), ring(epoch_iterations=10))
    return clock.validated


def test_a_cheap_validation_takes_place_whenever_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, 0.1, 0.1) == list(range(2, 61, 2))


def test_a_dear_one_is_left_out_until_it_is_affordable_and_the_last_never(monkeypatch: pytest.MonkeyPatch) -> None:
    # 4 s each at a tenth: the second is within 8 s of 80 iterations
    assert run(monkeypatch, 4, 0.1) == [2, 60]
    # at a fifth: 8 s at 40 iterations
    assert run(monkeypatch, 4, 0.2) == [2, 40, 60]


@pytest.mark.parametrize("interval", [1.0, 0.5, 5])
def test_epochs_and_parts_of_them_are_thinned_alike(monkeypatch: pytest.MonkeyPatch, interval: Any) -> None:
    epochs = {"max_steps": -1, "max_epochs": 6, "check_val_every_n_epoch": 1, "val_check_interval": interval}
    first = 10 if interval == 1.0 else 5
    assert run(monkeypatch, 4, 0.2, **epochs) == [first, 40, 60]


def test_a_checkpoint_is_never_named_after_a_value_of_another_iteration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keep = ModelCheckpoint(tmp_path, monitor="value", mode="max", save_top_k=-1, filename="{step}-{value:.0f}")
    epochs = {"max_steps": -1, "max_epochs": 6, "check_val_every_n_epoch": 1, "val_check_interval": 1.0}
    assert run(monkeypatch, 4, 0.2, keep, **epochs, enable_checkpointing=True) == [10, 40, 60]
    names = sorted(path.stem for path in tmp_path.glob("*.ckpt"))
    assert names == [f"step={step}-value={step}" for step in (10, 40, 60)]


def test_early_stopping_counts_every_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    validated = run(monkeypatch, 40, 0.1, EarlyStopping("value", patience=2))  # the value only grows
    assert validated == [2, 4, 6]


def test_the_cost_is_logged_and_a_share_must_be_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    class Seen(Callback):
        values: dict[str, float] = {}  # noqa: RUF012

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self.values |= {name: float(value) for name, value in trainer.callback_metrics.items()}

    run(monkeypatch, 0.1, 0.1, Seen())
    assert Seen.values["validation/seconds"] == pytest.approx(0.1)
    assert Seen.values["validation/share"] == pytest.approx(29 * 0.1 / 60, rel=0.05)
    with pytest.raises(ValueError, match=r"share=0\)"):
        ValidationBudget(0)
