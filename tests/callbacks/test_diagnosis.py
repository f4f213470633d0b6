"""The diagnosis speaks once a change, on the console, to loggers and in a file, and travels in checkpoints."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from recipes import make, quiet_trainer, ring
from wandb import teardown
from wandb_file import read

from callbacks import Diagnosis, Diagnostic, RunSummary
from callbacks.diagnosis import DiagnosisWarning
from gan_modules import Adam, NonFiniteError

pytestmark = pytest.mark.filterwarnings("ignore")
WELL, LOST = {"modes": 8.0, "vendi": 8.0, "recall": 0.9}, {"modes": 2.0, "vendi": 2.0, "recall": 0.1}
#: as many observations as it takes to know that modes do not come back
COLLAPSING = (WELL, WELL, WELL, LOST, LOST)
FLOORS = {"modes_floor": 8.0, "vendi_floor": 8.0, "recall_floor": 0.95}
BESIDE = {"mode_kl": 0.1, "mode_share_min": 0.0, "precision": 0.9, "precision_floor": 0.9, "coverage": 0.5}


class Scripted(Callback):
    """Logs, at each validation, what the script says next."""

    def __init__(self, *script: dict[str, float]) -> None:
        self.script = script

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            pl_module.log_dict(FLOORS | BESIDE | self.script[trainer.global_step - 1])


class Look(Diagnostic):
    """Logs the number of iterations so far."""

    prefix = "look"

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        return {"look/iterations": float(trainer.global_step)}


def fitted(root: Path, *script: dict[str, float], callbacks: Sequence[Callback] = (), steps: int = 0, **kwargs: Any):
    """The diagnosis after a run with a validation an iteration, and its warnings: (iteration, text)."""
    diagnosis = Diagnosis()
    each = {"check_val_every_n_epoch": None, "val_check_interval": 1, "max_steps": steps or len(script)}
    ckpt_path = kwargs.pop("ckpt_path", None)
    trainer = quiet_trainer(
        default_root_dir=root, callbacks=[Scripted(*script), *callbacks, diagnosis], **(each | kwargs)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(make("NSGAN"), ring(), ckpt_path=ckpt_path, weights_only=False)
    return diagnosis, trainer, [(w.lineno, str(w.message)) for w in caught if w.category is DiagnosisWarning]


def test_it_speaks_once_a_change(tmp_path: Path) -> None:
    diagnosis, trainer, said = fitted(tmp_path, *COLLAPSING, LOST, WELL, WELL)
    assert [at for at, _ in said] == [5, 7]  # two observations make a failure, one of health ends it
    assert said[0][1].startswith("mode collapse: modes 2, real samples 8; ")
    assert "--model R3GAN" in said[0][1]
    assert "no failure is seen now" in said[1][1]
    assert diagnosis.findings == []
    assert float(trainer.callback_metrics["diagnosis/mode_collapse"]) == 0
    rows = [json.loads(line) for line in (tmp_path / "diagnosis.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["failure"]) for row in rows] == [(5, "mode collapse"), (7, "none")]


def test_loggers_get_flags_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # what the logger sets is put back, for processes of later tests
    csv = CSVLogger(tmp_path, name="")
    wandb = WandbLogger(save_dir=tmp_path, offline=True, project="p")
    fitted(tmp_path, *COLLAPSING, LOST, logger=[csv, wandb])
    csv.save()
    header, *rows = (tmp_path / "version_0" / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("diagnosis/mode_collapse")
    assert [row.split(",")[column] for row in rows if row.split(",")[column]] == ["1.0", "1.0"]
    wandb.experiment.finish()
    teardown()
    history, _ = read(next(tmp_path.glob("wandb/offline-run-*/*.wandb")))
    assert [row["diagnosis/nrows"] for row in history if "diagnosis/nrows" in row] == [1]
    assert [row["diagnosis/mode_collapse"] for row in history if "diagnosis/mode_collapse" in row] == [1, 1]


def test_history_travels_in_the_checkpoint(tmp_path: Path) -> None:
    script = (*COLLAPSING, LOST)
    whole, _, _ = fitted(tmp_path / "whole", *script)
    _, trainer, said = fitted(tmp_path / "half", *script, steps=5)
    assert [at for at, _ in said] == [5]
    path = tmp_path / "half.ckpt"
    trainer.save_checkpoint(path)
    resumed, _, said = fitted(tmp_path / "half", *script, ckpt_path=str(path))
    assert said == []  # it was said before
    assert [o.iteration for o in resumed.history] == [o.iteration for o in whole.history] == [1, 2, 3, 4, 5, 6]
    assert resumed.history[0].values["modes"] == 8
    assert torch.load(path, weights_only=True)["callbacks"]  # plain values


def test_looks_between_validations_are_seen_and_stale_ones_are_not(tmp_path: Path) -> None:
    look = Look(every_n_steps=3, budget=None)
    diagnosis, _, _ = fitted(tmp_path, *[WELL] * 6, callbacks=[look], val_check_interval=2)
    assert [o.iteration for o in diagnosis.history] == [2, 3, 4, 6, 6]
    assert [o.values.get("look/iterations") for o in diagnosis.history] == [None, 3, None, 6, None]


def test_numbers_that_are_not_finite_are_named_as_the_run_ends(tmp_path: Path) -> None:
    class Break(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any) -> None:
            if trainer.global_step == 2:
                next(pl_module.generator.parameters()).data.fill_(torch.nan)

    with pytest.raises(NonFiniteError):
        fitted(tmp_path, *[WELL] * 4, callbacks=[Break()])
    row = json.loads((tmp_path / "diagnosis.jsonl").read_text())
    assert (row["iteration"], row["failure"]) == (2, "numerical trouble")
    assert "not finite" in row["evidence"]


def test_the_closing_table_has_the_diagnosis(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fitted(tmp_path, *COLLAPSING, callbacks=[RunSummary()])
    assert "mode collapse" in capsys.readouterr().out


def test_none_found_names_what_has_not_looked(tmp_path: Path) -> None:
    unseen, *_ = fitted(tmp_path, WELL, WELL)
    assert unseen.summary == "none found, without a look of GradientHealth, GameSpectrum, WeightSpectrum"
    measured = WELL | {"health/signal": 1.0, "game/radius": 0.9, "weights/generator/lipschitz_upper": 2.0}
    seen, *_ = fitted(tmp_path, measured, WELL)
    assert seen.summary == "none found"


def test_remedies_start_from_the_rates_that_the_run_was_given_not_those_of_its_schedule(tmp_path: Path) -> None:
    diagnosis = Diagnosis()
    halved = partial(torch.optim.lr_scheduler.ConstantLR, factor=0.5, total_iters=100)
    rates = {f"{player}_optimizer": partial(Adam, lr=1e-2) for player in ("generator", "discriminator")}
    schedules = {f"{player}_scheduler": halved for player in ("generator", "discriminator")}
    script = Scripted(*[WELL | {"game/lr_over_limit": 1.6}] * 2)
    each = {"check_val_every_n_epoch": None, "val_check_interval": 1, "max_steps": 2}
    trainer = quiet_trainer(default_root_dir=tmp_path, callbacks=[script, diagnosis], **each)
    trainer.fit(make("NSGAN", **rates, **schedules), ring())
    assert [f.failure for f in diagnosis.findings] == ["divergence ahead"]
    assert diagnosis.findings[0].remedy.startswith("--model.generator_optimizer.lr 0.005 ")


def test_it_needs_a_game() -> None:
    with pytest.raises(TypeError, match="Diagnosis needs a game"):
        Diagnosis().setup(quiet_trainer(), LightningModule(), "fit")


def test_histories_stay_bounded_and_keep_the_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callbacks.diagnosis.CAPACITY", 8)
    diagnosis, _, _ = fitted(tmp_path, *[WELL] * 12)
    at = [o.iteration for o in diagnosis.history]
    assert len(at) <= 8
    assert at[0] == 1
    assert at[-4:] == [9, 10, 11, 12]


def test_between_validations_what_they_measured_is_not_news(tmp_path: Path) -> None:
    script = [LOST] * 8
    diagnosis, *_ = fitted(
        tmp_path, *script, callbacks=[Look(every_n_steps=1, budget=None)], val_check_interval=4, steps=8
    )
    assert [o.iteration for o in diagnosis.history if "modes" in o.values] == [4, 8]
    assert [o.iteration for o in diagnosis.history if "look/iterations" in o.values] == list(range(1, 9))
    assert not diagnosis.findings  # two validations do not tell lost modes from those that are yet to be found


def test_looks_count_from_an_earlier_checkpoint_on(tmp_path: Path) -> None:
    look = Look(every_n_steps=1, budget=None)
    trainer = fitted(tmp_path, *[WELL] * 4, callbacks=[look])[1]
    trainer.save_checkpoint(tmp_path / "early.ckpt")
    look.iteration, look.latest = 100, {"look/iterations": 100.0}  # the run went on
    later = fitted(tmp_path, *[WELL] * 6, callbacks=[look], ckpt_path=tmp_path / "early.ckpt")[0]
    assert [o.iteration for o in later.history if "look/iterations" in o.values][-2:] == [5, 6]
