"""GameSpectrum: the numbers of the closed forms, a warning in time, and a training that does not notice."""

from __future__ import annotations

import csv
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from recipes import parameters, quiet_trainer, ring, spectrum_on_ranks
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from workers import GlooPool

from callbacks import GameSpectrum, RunSummary, game_spectrum
from callbacks.diagnostic import DiagnosticWarning
from callbacks.game_spectrum import StabilityWarning
from datamodules import PointDataModule
from gan_modules import NSGAN, BilinearGame, DiracGAN, GameModule
from gan_modules.dynamics import NotTwiceDifferentiableError
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1
from gan_modules.rules import Alternating, Extragradient, Simultaneous, UpdateRule

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("default::UserWarning:GameSpectrum")]
QUIET = {"num_sanity_val_steps": 0, "limit_val_batches": 0}


def sgd(lr: float) -> Any:
    return partial(torch.optim.SGD, lr=lr)


def dirac(lr: float, rule: UpdateRule | None = None, **kwargs: Any) -> DiracGAN:
    """At its equilibrium, where the closed forms hold."""
    optimizers = {"generator_optimizer": sgd(lr), "discriminator_optimizer": sgd(lr)}
    return DiracGAN(penalties=[R1(0.3)], theta=0.0, rule=rule or Simultaneous(), **optimizers, **kwargs)


def look(model: GameModule, callback: GameSpectrum | None = None, **kwargs: Any) -> dict[str, float]:
    """What is logged of one toy's first iterations."""
    callback = callback or GameSpectrum(every_n_steps=1, budget=None, picture=False)
    trainer = quiet_trainer(callbacks=[callback], **QUIET, **kwargs)
    trainer.fit(model, PointDataModule(batch_size=2))
    return game_values(trainer)


def game_values(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("game/")}


def said(caught: Any) -> list[str]:
    return [str(w.message) for w in caught if issubclass(w.category, DiagnosticWarning)]


def wide(**kwargs: Any) -> NSGAN:
    """A GAN of more numbers than are taken whole, with layers that draw and layers that count."""
    torch.manual_seed(0)
    discriminator = nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)
    )
    return NSGAN(MLPGenerator((2,), latent_dim=3, width=16, depth=2), discriminator, **kwargs)


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating()])
def test_the_dirac_gans_limit_is_the_closed_form(rule: UpdateRule) -> None:
    model = dirac(1.0, rule)
    values = look(model)
    limit = model.stability_limit(rule)
    for player in ("generator", "discriminator"):
        assert values[f"game/largest_lr/{player}"] == pytest.approx(limit, rel=1e-6)
    assert values["game/lr_over_limit"] == pytest.approx(1 / limit, rel=1e-6)
    assert values["game/unstable"] == 0
    expected = complex(model.exponents()[0])  # the learning rate is 1
    assert values["game/eigenvalue/1/real"] == pytest.approx(expected.real, abs=1e-6)
    assert values["game/eigenvalue/1/imag"] == pytest.approx(abs(expected.imag), abs=1e-6)
    assert values["game/rotation"] == pytest.approx(abs(expected.imag) / abs(expected), abs=1e-6)


@pytest.mark.parametrize(
    ("lr", "number", "word"), [(1.0, None, None), (1.14, "lr / h* = 0.95", "near"), (1.26, "lr / h* = 1.05", "past")]
)
def test_a_run_is_warned_once_before_it_cycles(lr: float, number: str | None, word: str | None) -> None:
    with pytest.warns(StabilityWarning) if number else warnings.catch_warnings(record=True) as caught:  # type: ignore[attr-defined]
        values = look(dirac(lr), max_steps=3)
    texts = said(caught)
    assert values["game/unstable"] == (lr > 1.2)
    if number is None or word is None:
        assert not texts
        return
    (text,) = texts
    assert number in text
    assert word in text
    for remedy in ("--model.generator_optimizer.lr 0.96", "--model.rule gan_modules.rules.Extragradient", "gamma"):
        assert remedy in text


def test_a_game_that_only_turns_needs_another_rule() -> None:
    optimizers = {"generator_optimizer": sgd(0.1), "discriminator_optimizer": sgd(0.1)}
    with pytest.warns(StabilityWarning, match="no learning rate is stable for Simultaneous.*Extragradient"):
        values = look(BilinearGame([[1.0]], rule=Simultaneous(), **optimizers))
    assert values["game/unstable"] == 2
    assert "game/lr_over_limit" not in values
    with pytest.warns(StabilityWarning, match="circles its equilibrium"):
        look(BilinearGame([[1.0]], rule=Alternating(), **optimizers))
    with warnings.catch_warnings(record=True) as caught:
        values = look(BilinearGame([[1.0]], rule=Extragradient(), **optimizers))
    assert not said(caught)
    assert values["game/lr_over_limit"] == pytest.approx(0.1, rel=1e-6)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_network_logs_finite_values_whatever_the_log_interval(precision: Any, tmp_path: Path) -> None:
    callback = GameSpectrum(every_n_steps=2, budget=None, vectors=12)
    trainer = quiet_trainer(
        callbacks=[callback], logger=CSVLogger(tmp_path, name="metrics"), default_root_dir=tmp_path,
        log_every_n_steps=50, max_steps=4, precision=precision, **QUIET,
    )  # fmt: skip
    trainer.fit(wide(), ring())
    values = game_values(trainer)
    assert {"game/unstable", "game/radius", "game/rotation", "game/products", "game/seconds"} <= values.keys()
    assert all(torch.isfinite(torch.tensor(value)) for value in values.values())
    assert values["game/products"] == values["game/vectors"] == 12
    rows = list(csv.DictReader((tmp_path / "metrics/version_0/metrics.csv").open()))
    assert [row["step"] for row in rows if row["game/radius"]] == ["1", "3"]  # steps count from 0
    assert sorted(p.name for p in (tmp_path / "spectra").iterdir()) == ["000002.png", "000004.png"]
    assert callback.path is not None
    assert Image.open(callback.path).size == (1000, 540)


def test_adam_may_be_looked_at_after_its_first_step() -> None:
    with warnings.catch_warnings(record=True) as caught:
        values = look(DiracGAN(penalties=[R1(0.3)], theta=0.5))
    assert not any("not stepped" in text for text in said(caught))
    assert "game/radius" in values


def test_training_is_the_same_bit_for_bit() -> None:
    runs = []
    for callbacks in ([], [GameSpectrum(every_n_steps=2, budget=None, vectors=12, picture=False)]):
        model = wide()
        torch.manual_seed(1)
        trainer = quiet_trainer(callbacks=callbacks, max_steps=3, **QUIET)
        trainer.fit(model, ring())
        logged = {k: v for k, v in trainer.callback_metrics.items() if not k.startswith("game/")}
        optimizer = trainer.optimizers[1].state_dict()["state"]
        moments = {f"{i}/{name}": torch.as_tensor(x) for i, entry in optimizer.items() for name, x in entry.items()}
        gradients = {f"grad/{name}": p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        runs.append(parameters(model) | logged | moments | gradients | buffers | {"rng": torch.get_rng_state()})
        assert model.training
    without, with_it = runs
    assert without.keys() == with_it.keys()
    for name, value in without.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(with_it[name])), name


def test_two_processes_see_the_spectrum_of_the_joined_batch(gloo: GlooPool) -> None:
    alone = spectrum_on_ranks(0, 1)
    first, second = gloo(spectrum_on_ranks)
    for name in alone.keys() - {"game/seconds", "game/share"}:
        assert first[name] == pytest.approx(alone[name], rel=1e-6, abs=1e-9), name
        assert first[name] == second[name], name


def test_rows_are_those_of_the_first_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **kwargs: Any) -> None:
        raise TypeError("not today")

    monkeypatch.setattr(game_spectrum, "stability", unknown)
    seen: list[Tensor] = []

    class Watched(NSGAN):
        def game_batch(self, real: Tensor, *args: Any, **kwargs: Any) -> Any:
            if "draw" not in kwargs:
                seen.append(real)
            return super().game_batch(real, *args, **kwargs)

    for rows, expected in ((None, 8), (5, 5)):
        networks = MLPGenerator((2,), latent_dim=3, width=8, depth=1), MLPDiscriminator((2,), width=8, depth=1)
        model = Watched(*networks, rule=Alternating(3))
        callback = GameSpectrum(every_n_steps=2, budget=None, rows=rows, vectors=3, picture=False)
        quiet_trainer(callbacks=[callback], **QUIET).fit(model, ring())
        assert len(seen.pop()) == expected


def test_an_optimizer_that_no_one_knows_is_named_once_and_the_spectrum_logged() -> None:
    model = DiracGAN(penalties=[R1(0.3)], theta=0.0, generator_optimizer=partial(torch.optim.Rprop, lr=0.1))
    with pytest.warns(DiagnosticWarning, match="Rprop has no known linearisation") as caught:
        values = look(model, max_steps=3)
    assert len(said(caught)) == 1
    assert values["game/jacobian_eigenvalue/1/real"] == pytest.approx(-0.15, abs=0.01)
    assert "game/lr_over_limit" not in values


@pytest.mark.parametrize(
    ("error", "text", "expected"),
    [
        (NotTwiceDifferentiableError("No second derivative of some_op."), "no more looks in this run: No second", 1),
        (FloatingPointError("The field is not finite."), "The field is not finite", 3),
    ],
)
def test_a_game_that_cannot_be_judged_is_told_once(
    error: Exception, text: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    def refuse(*args: Any) -> None:
        looks.append(args)
        raise error

    monkeypatch.setattr(game_spectrum, "GameJacobian", refuse)
    with pytest.warns(DiagnosticWarning, match=text) as caught:
        assert not look(dirac(1.0), max_steps=3)
    assert len(said(caught)) == 1
    assert len(looks) == expected


def test_what_is_no_game_is_refused() -> None:
    class Lonely(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.layer(batch[0]).sum()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=4)
    with pytest.raises(TypeError, match="Lonely"):
        quiet_trainer(callbacks=[GameSpectrum()]).fit(Lonely(), loader)


@pytest.mark.parametrize(
    "argument",
    [
        {"every_n_steps": 0},
        {"k": 0},
        {"vectors": 0},
        {"rows": 0},
        {"rows_per_shard": 0},
        {"memory": 0},
        {"budget": 0},
        {"warn_at": 1.5},
    ],
)
def test_arguments_are_checked(argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(argument))):
        GameSpectrum(**argument)


def test_a_space_too_large_for_the_memory_has_fewer_vectors_which_is_said_once() -> None:
    parameters = sum(p.numel() for player in wide().players for p in player.parameters())
    each = 3 * 4 * parameters / 2**30
    settings: dict[str, Any] = {"every_n_steps": 1, "budget": None, "vectors": 20, "picture": False}
    trainer = quiet_trainer(callbacks=[GameSpectrum(memory=7.5 * each, **settings)], max_steps=2, **QUIET)
    with pytest.warns(DiagnosticWarning, match="20 vectors of .* 7 vectors are used") as caught:
        trainer.fit(wide(), ring())
    assert len([text for text in said(caught) if "are used" in text]) == 1
    assert game_values(trainer)["game/vectors"] == game_values(trainer)["game/products"] == 7
    callback = GameSpectrum(memory=0.5 * each, **settings)
    trainer = quiet_trainer(callbacks=[callback], max_steps=1, **QUIET)
    with pytest.warns(DiagnosticWarning, match="there are no looks"):
        trainer.fit(wide(), ring())
    assert not callback.latest


def test_a_batch_in_shards_has_the_spectrum_of_the_whole() -> None:
    found = []
    for rows_per_shard in (None, 3):
        torch.manual_seed(0)
        networks = MLPGenerator((2,), latent_dim=3, width=16, depth=2), MLPDiscriminator((2,), width=16, depth=2)
        model = NSGAN(*networks, generator_optimizer=sgd(0.05), discriminator_optimizer=sgd(0.05))
        callback = GameSpectrum(1, budget=None, rows_per_shard=rows_per_shard, picture=False)
        quiet_trainer(callbacks=[callback], max_steps=1, precision="64-true", **QUIET).fit(model, ring())
        found.append(callback.latest)
    for name in found[0].keys() - {"game/seconds", "game/share"}:
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-6, abs=1e-9), name


def test_the_closing_table_has_a_row_on_stability(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    callbacks = [GameSpectrum(every_n_steps=1, budget=None), RunSummary()]
    trainer = quiet_trainer(callbacks=callbacks, default_root_dir=tmp_path, **QUIET)
    trainer.fit(dirac(1.26), PointDataModule(batch_size=2))
    text = " ".join(capsys.readouterr().out.split())
    assert "highest 1.05, after 1 iterations; last 1.05, unstable" in text
    assert "spectra/000002.png" in text
