"""A diagnostic looks when it is due, stays within its share of the time, and never disturbs training."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger
from recipes import lone_trouble_on_ranks, make, parameters, quiet_trainer, ring
from torch import nn
from workers import GlooPool

from callbacks import Diagnostic, GameSpectrum
from callbacks.diagnostic import DiagnosticWarning, first_draw
from gan_modules import NSGAN, PacGAN
from gan_modules.dynamics import NotTwiceDifferentiableError
from gan_modules.networks import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.filterwarnings("ignore")
VALIDATING = {"num_sanity_val_steps": 1, "check_val_every_n_epoch": None, "val_check_interval": 2, "max_steps": 6}


class Spy(Diagnostic):
    """Draws from the global generator and takes its time."""

    prefix = "spy"

    def __init__(self, error: Exception | None = None, seconds: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error, self.pause = error, seconds
        self.at: list[int] = []

    def look(self, trainer: Any, pl_module: Any, batch: Any) -> dict[str, float]:
        torch.rand(3)
        assert torch.is_grad_enabled()
        time.sleep(self.pause)
        self.at.append(trainer.global_step)
        if self.error is not None:
            raise self.error
        return {
            "spy/loss": float(pl_module.player_loss(0, pl_module.game_batch(*first_draw(batch, pl_module)))),
            "spy/unknown": float("nan"),
        }


def fitted(spy: Spy | None, **kwargs: Any) -> tuple[Any, list[str]]:
    model = make("NSGAN")
    trainer = quiet_trainer(callbacks=[] if spy is None else [spy], **(VALIDATING | kwargs))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(model, ring())
    return trainer, [str(w.message) for w in caught if issubclass(w.category, DiagnosticWarning)]


def test_it_looks_before_each_validation_or_every_so_many_iterations() -> None:
    before_validation, every_third = Spy(budget=None), Spy(every_n_steps=3, budget=None)
    fitted(before_validation)
    fitted(every_third)
    assert before_validation.at == [2, 4, 6]  # and not in the sanity check
    assert every_third.at == [3, 6]


def test_values_reach_loggers_and_monitors_with_what_they_cost(tmp_path: Path) -> None:
    spy = Spy(budget=None, seconds=0.01)
    trainer, _ = fitted(spy, logger=CSVLogger(tmp_path, name=""))
    assert spy.latest.keys() == {"spy/loss", "spy/seconds", "spy/share"}  # what is unknown is left out
    assert spy.iteration == 6
    assert spy.latest["spy/seconds"] >= 0.01
    assert float(trainer.callback_metrics["spy/loss"]) == pytest.approx(spy.latest["spy/loss"])
    header = (tmp_path / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert {"spy/loss", "spy/share"} <= set(header.split(","))


def test_training_is_the_same_with_and_without() -> None:
    runs = [parameters(fitted(spy)[0].lightning_module) for spy in (None, Spy(budget=None))]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_looks_that_cost_too_much_are_left_out() -> None:
    costly = Spy(every_n_steps=1, budget=0.11, seconds=0.4)
    costly.guess = 0.1
    fitted(costly, max_steps=20)
    assert len(costly.at) == 1  # the first showed what the others would cost
    assert costly.left_out == 19
    feared = Spy(every_n_steps=1, budget=0.5)
    feared.guess = 1e9
    fitted(feared)
    assert feared.at == []


def test_what_cannot_be_differentiated_twice_is_told_once_and_left_alone() -> None:
    spy = Spy(NotTwiceDifferentiableError("Torch can't differentiate this."), budget=None)
    _, said = fitted(spy)
    assert spy.at == [2]
    assert said == ["no more looks in this run: Torch can't differentiate this."]
    assert spy.latest == {}


def test_numbers_past_their_range_are_told_once_and_looked_at_again() -> None:
    spy = Spy(FloatingPointError("The field is not finite."), budget=None)
    _, said = fitted(spy)
    assert spy.at == [2, 4, 6]
    assert said == ["The field is not finite."]


@pytest.mark.parametrize("arguments", [{"every_n_steps": 0}, {"budget": 0.0}, {"budget": -1.0}], ids=str)
def test_bad_arguments_are_named(arguments: dict[str, Any]) -> None:
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=rf"Spy\({name}={value}\)"):
        Spy(**arguments)


def test_a_module_that_is_no_game_is_refused() -> None:
    with pytest.raises(TypeError, match="Spy needs a game"):
        Spy().setup(quiet_trainer(), LightningModule(), "fit")


@pytest.mark.parametrize("every", [None, 2])
def test_players_are_seen_as_they_train_and_buffers_stay(every: int | None) -> None:
    class Forward(Spy):
        def look(self, trainer: Any, pl_module: Any, batch: Any) -> dict[str, float]:
            self.modes = {name: module.training for name, module in pl_module.discriminator.named_modules()}
            return super().look(trainer, pl_module, batch)

    ends = []
    for spy in (None, Forward(every_n_steps=every, budget=None)):
        torch.manual_seed(0)
        discriminator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        model = NSGAN(MLPGenerator((2,), latent_dim=3, width=8, depth=2), discriminator)
        quiet_trainer(callbacks=[spy] if spy else [], **VALIDATING).fit(model, ring())
        ends.append(model.state_dict())
    assert spy is not None
    assert all(spy.modes.values())
    for name, tensor in ends[0].items():
        assert torch.equal(tensor, ends[1][name]), name


def test_rows_are_a_whole_number_of_what_a_packing_discriminator_judges() -> None:
    networks = MLPGenerator((2,), latent_dim=3, width=8, depth=2), MLPDiscriminator((6,), width=8, depth=2)
    callback = GameSpectrum(every_n_steps=2, budget=None, rows=64, vectors=4, picture=False)
    quiet_trainer(callbacks=[callback]).fit(PacGAN(*networks, pack=3), ring(batch_size=90, train_size=180))
    assert callback.latest["game/products"] > 0
    rows = torch.arange(90.0)[:, None]
    assert len(first_draw(rows, PacGAN(*networks, pack=3), 64)[0]) == 63
    assert len(first_draw(rows, PacGAN(*networks, pack=3), 2)[0]) == 3


def test_no_batch_is_kept_for_a_validation_after_training() -> None:
    spy = Spy(budget=None)
    trainer, _ = fitted(spy, max_steps=5)
    trainer.validate(trainer.lightning_module, ring(), verbose=False)
    assert spy.at == [2, 4]


def test_a_run_without_validations_says_that_nothing_was_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    fitted(Spy(budget=None), limit_val_batches=0)
    assert "Spy has not looked: it looks before validations, and there was none. Give it every_n_steps" in caplog.text
    caplog.clear()
    fitted(Spy(budget=None))
    fitted(Spy(every_n_steps=2), limit_val_batches=0)
    assert "has not looked" not in caplog.text


def test_trouble_on_one_process_keeps_none_waiting(gloo: GlooPool) -> None:
    for curvature, health in gloo(lone_trouble_on_ranks):
        assert curvature == {}
        assert health["health/non_finite"] == 1
        assert "health/signal_share" not in health
