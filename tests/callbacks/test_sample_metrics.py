"""What SampleMetrics logs and writes, on any list of metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from recipes import evaluated_on_ranks, make, quiet_trainer, ring, trained_with_few_samples_on_ranks
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.image.fid import FrechetInceptionDistance
from workers import GlooPool

import callbacks.metrics
from callbacks import SampleMetrics, WeightSpectrum
from callbacks.metrics import (
    DigitsClassifier,
    FrechetDistance,
    ModeCoverage,
    Pixels,
    PrecisionRecallDensityCoverage,
    VendiScore,
)
from callbacks.sample_metrics import every_metric
from datamodules import DigitsDataModule
from datamodules.whitening import PCAWhitening, ZCAWhitening
from gan_modules import NSGAN
from gan_modules.networks import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.filterwarnings("ignore")
ONCE = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}


def points(**kwargs: Any) -> SampleMetrics:
    return SampleMetrics(Pixels(), **{"n_samples": 150, "cache_dir": "", **kwargs})


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "evaluation" / "fit.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("whitening", [None, ZCAWhitening()], ids=["raw", "whitened"])
def test_fid_is_the_librarys_on_samples_and_held_out_data_in_data_space(whitening: Any) -> None:
    model, data = make("NSGAN"), ring(whitening=whitening)
    trainer = quiet_trainer(callbacks=[points()], **ONCE)
    trainer.fit(model, data)

    class Features(nn.Module):
        num_features = 2

        def forward(self, x: Tensor) -> Tensor:
            return x

    oracle = FrechetInceptionDistance(Features()).set_dtype(torch.float64)
    oracle.inception.num_features = 2
    real = data.load("val")[0]
    for images, is_real in ((real, True), (data.decode(model.sample(150, seed=0)), False)):
        oracle.update(images.double(), real=is_real)
    assert float(trainer.logged_metrics["fid"]) == pytest.approx(float(oracle.compute()), rel=1e-4)


def test_what_a_whitening_drops_counts_against_the_generator() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NSGAN(MLPGenerator((4,), latent_dim=3, width=8), MLPDiscriminator((4,), width=8))
    data = DigitsDataModule(batch_size=8, whitening=PCAWhitening(rank=4))
    metrics = SampleMetrics(n_samples=100, metrics=[FrechetDistance()])
    quiet_trainer(callbacks=[metrics], **ONCE).fit(model, data)
    split = data.load("val")[0]
    oracle, extractor = FrechetDistance(), DigitsClassifier()
    oracle.update(extractor(split / 255 if split.dtype == torch.uint8 else split), real=True)
    oracle.update(extractor(data.decode(model.sample(100, seed=0))), real=False)
    assert metrics.latest["values"]["fid"] == pytest.approx(float(oracle.compute()), rel=1e-6)


def test_modes_are_the_data_modules_truth_and_the_floor_is_low() -> None:
    model, data = make("NSGAN"), ring(train_size=400, val_size=400)
    trainer = quiet_trainer(callbacks=[points(n_samples=400)], **ONCE)
    trainer.fit(model, data)
    logged = trainer.logged_metrics
    inside = data.truth.assign(data.decode(model.sample(400, seed=0)))
    assert float(logged["high_quality"]) == pytest.approx(float((inside >= 0).double().mean()))
    assert float(logged["modes"]) == len(inside[inside >= 0].unique())
    assert float(logged["fid_floor"]) < 0.1 * float(logged["fid"])
    assert float(logged["modes_floor"]) == 8
    assert float(logged["fid_untrained"]) > 0


def test_one_feature_pass_feeds_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(Pixels):
        seen = 0

        def features(self, samples: Tensor) -> Tensor:
            Counting.seen += len(samples)
            return super().features(samples)

    metrics = SampleMetrics(Counting(), n_samples=100, metrics=[FrechetDistance(), VendiScore(), ModeCoverage()])
    trainer = quiet_trainer(callbacks=[metrics], max_steps=6, **ONCE)
    trainer.fit(make("NSGAN"), ring(train_size=64, val_size=40))
    # 40 held-out reals, 64 training reals for the floor, then untrained and three times trained samples
    assert Counting.seen == 40 + 64 + 4 * 100


@pytest.mark.parametrize("metric", every_metric())
def test_a_metric_that_is_asked_for_gives_values_or_says_what_it_misses(metric: str) -> None:
    metrics = points(metrics=[getattr(callbacks.metrics, metric)()])
    trainer = quiet_trainer(callbacks=[metrics], **ONCE)
    needs = {"InceptionScore": "Classifier", "ClassConditionalFID": "class-conditional"}
    needs |= {"MSSSIMDiversity": "images", "PowerSpectrum": "images", "GeodesicCoverage": "manifold"}
    if metric in needs:
        with pytest.raises(ValueError, match=f"{metric}.*{needs[metric]}"):
            trainer.fit(make("NSGAN"), ring(train_size=200, val_size=120))
    else:
        trainer.fit(make("NSGAN"), ring(train_size=200, val_size=120))
        values, floors = metrics.latest["values"], metrics.latest["floors"]
        assert values.keys() == floors.keys()
        assert values.keys() | {f"{name}_floor" for name in floors} <= trainer.logged_metrics.keys()


def test_the_generator_itself_is_evaluated_beside_its_average() -> None:
    model = make("NSGAN", ema_decay=0.9)
    metrics = points(metrics=[FrechetDistance()], raw=True)
    quiet_trainer(callbacks=[metrics], **ONCE).fit(model, data := ring())
    oracle = FrechetDistance()
    oracle.update(data.load("val")[0].float(), real=True)
    oracle.update(model.sample(150, seed=0, ema=False), real=False)
    values = metrics.latest["values"]
    assert values["raw/fid"] == pytest.approx(float(oracle.compute()), rel=1e-6)
    assert values["raw/fid"] != values["fid"]


def test_every_evaluation_is_written_with_its_protocol(tmp_path: Path) -> None:
    metrics = points()
    logger = CSVLogger(tmp_path)
    trainer = quiet_trainer(callbacks=[metrics], logger=logger, default_root_dir=tmp_path, max_steps=4, **ONCE)
    trainer.fit(make("NSGAN"), ring())
    first, second = lines(tmp_path)
    assert (first["iteration"], second["iteration"]) == (2, 4)
    assert first["protocol"] == second["protocol"]
    assert second["values"]["fid"] == metrics.latest["values"]["fid"]
    asked = {"extractor": "pixels", "split": "val", "n_real": 40, "n_generated": 150}
    assert asked.items() <= first["protocol"].items()
    assert logger.experiment.hparams["evaluation"]["val"]["hash"] == first["protocol"]["hash"]
    other = points(n_samples=151)
    quiet_trainer(callbacks=[other], **ONCE, default_root_dir=tmp_path / "b").fit(make("NSGAN"), ring())
    assert other.latest["protocol"]["hash"] != first["protocol"]["hash"]
    assert other.latest["protocol"]["data"] == first["protocol"]["data"]


def test_what_a_metric_was_given_is_part_of_the_protocol(tmp_path: Path) -> None:
    def protocol(*metrics: Any) -> dict[str, Any]:
        callback = points(metrics=list(metrics))
        quiet_trainer(callbacks=[callback], default_root_dir=tmp_path, **ONCE).fit(make("NSGAN"), ring())
        return callback.latest["protocol"]

    balls = PrecisionRecallDensityCoverage
    plain = protocol(balls())
    assert protocol(FrechetDistance(), balls(neighbours=5))["hash"] == plain["hash"]  # values compare one by one
    for given, told in (({"neighbours": 3}, {"neighbours": 3}), ({"capacity": 30}, {"real_capacity": 30})):
        other = protocol(balls(**given))
        assert other["hash"] != plain["hash"]
        assert told.items() <= other["metrics"]["PrecisionRecallDensityCoverage"].items()


def test_a_checkpoint_is_evaluated_as_what_it_is(tmp_path: Path) -> None:
    model, data = make("NSGAN"), ring(val_size=80)
    trainer = quiet_trainer(callbacks=[points()], default_root_dir=tmp_path, max_steps=4, **ONCE)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "at4.ckpt")
    (*_, last) = lines(tmp_path)
    assert last["fid_untrained"] is not None

    def validated(**kwargs: Any) -> dict[str, Any]:
        callback = points(**kwargs)
        fresh = quiet_trainer(callbacks=[callback], default_root_dir=tmp_path)
        fresh.validate(model, datamodule=data, ckpt_path=tmp_path / "at4.ckpt", verbose=False, weights_only=False)
        return callback.latest

    again, other = validated(), validated(n_samples=100)
    assert again["iteration"] == other["iteration"] == 4
    assert again["fid_untrained"] == last["fid_untrained"]
    assert other["fid_untrained"] is None  # it was of another number of samples


def test_what_is_written_is_json_to_any_reader(tmp_path: Path) -> None:
    class Infinite(ModeCoverage):
        def compute(self) -> Any:
            return super().compute() | {"mode_kl": torch.tensor(torch.inf, dtype=torch.float64)}

    trainer = quiet_trainer(callbacks=[points(metrics=[Infinite()])], default_root_dir=tmp_path, **ONCE)
    trainer.fit(make("NSGAN"), ring())
    (line,) = (tmp_path / "evaluation" / "fit.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["values"]["mode_kl"] == "inf"


def test_the_full_table_from_validate_and_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data = make("NSGAN"), ring(train_size=100, val_size=80, test_size=60)
    trainer = quiet_trainer(callbacks=[points(metrics=[FrechetDistance()])], default_root_dir=tmp_path, **ONCE)
    trainer.fit(model, data)
    capsys.readouterr()
    for command, split, n in (("validate", "val", 80), ("test", "test", 60)):
        getattr(trainer, command)(model, datamodule=data, verbose=False)
        written = json.loads((tmp_path / "evaluation" / f"{command}.json").read_text())
        assert (written["protocol"]["split"], written["protocol"]["n_real"]) == (split, n)
        assert {"fid", "modes", "coverage", "kid", "authenticity"} <= written["values"].keys()
        # a metric that says nothing here is named with the reason, not dropped in silence
        assert {"InceptionScore", "MSSSIMDiversity", "ClassConditionalFID"} <= written["left_out"].keys()
        accounted = len(written["left_out"]) + len(written["values"])
        assert accounted >= len(every_metric())
        text = capsys.readouterr().out
        assert "coverage" in text
        assert "left out" in text
        assert written["protocol"]["hash"] in text


def test_features_of_a_slow_extractor_are_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Pixels):
        rows = 0

        def features(self, samples: Tensor) -> Tensor:
            Slow.rows += len(samples)
            return super().features(samples)

    monkeypatch.setattr("callbacks.sample_metrics._WORTH_KEEPING", -1.0)

    def evaluate() -> tuple[dict[str, float], int]:
        Slow.rows = 0
        metrics = SampleMetrics(Slow(), n_samples=64, cache_dir=str(tmp_path))
        quiet_trainer(callbacks=[metrics], **ONCE).fit(make("NSGAN"), ring(train_size=8, val_size=80))
        return metrics.latest["values"], Slow.rows

    values, rows = evaluate()
    (path,) = tmp_path.glob("pixels-val-*.npz")
    again, fewer = evaluate()
    assert again == values
    assert fewer == rows - 80 + 8  # the held-out split, but for some rows by which what was kept is tried
    path.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="damaged"):
        mended, _ = evaluate()
    assert mended == values
    assert evaluate()[1] == fewer


def test_kept_features_that_the_extractor_no_longer_gives_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing(Pixels):
        factor = 1.0

        def features(self, samples: Tensor) -> Tensor:
            return Changing.factor * super().features(samples)

    monkeypatch.setattr("callbacks.sample_metrics._WORTH_KEEPING", -1.0)

    def fid() -> float:
        metrics = SampleMetrics(Changing(), n_samples=64, cache_dir=str(tmp_path))
        quiet_trainer(callbacks=[metrics], **ONCE).fit(make("NSGAN"), ring(train_size=8, val_size=80))
        return metrics.latest["values"]["fid"]

    before = fid()
    Changing.factor = 2.0  # code that no hash of weights tells
    with pytest.warns(UserWarning, match="not those that it gives now"):
        after = fid()
    assert after == pytest.approx(4 * before, rel=1e-5)
    assert fid() == after


def test_the_floor_of_data_in_the_order_of_their_modes_is_that_of_all() -> None:
    class Sorted(type(ring())):  # type: ignore[misc]
        def load(self, split: str) -> Any:
            samples, labels = super().load(split)
            return samples[labels.argsort(stable=True)], labels.sort(stable=True).values

    metrics = points(n_samples=80)
    data = Sorted(batch_size=8, train_size=400, val_size=400, test_size=40)
    quiet_trainer(callbacks=[metrics], **ONCE).fit(make("NSGAN"), data)
    assert metrics.latest["floors"]["modes"] == 8


def test_checkpoints_and_early_stopping_see_every_value(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, monitor="fid", filename="{step}-{fid:.4f}", save_top_k=-1)
    stop = EarlyStopping("modes", mode="max", patience=1, min_delta=100)
    metrics = points()
    settings = ONCE | {"max_steps": 20, "enable_checkpointing": True, "default_root_dir": tmp_path}
    trainer = quiet_trainer(callbacks=[metrics, stop, keep], **settings)
    trainer.fit(make("NSGAN"), ring())
    assert trainer.global_step == 4  # the first value, and one that was no better
    found = {path.stem for path in tmp_path.glob("*.ckpt")}
    assert found == {f"step={line['iteration']}-fid={line['values']['fid']:.4f}" for line in lines(tmp_path)}


def test_two_processes_give_the_values_of_one(gloo: GlooPool) -> None:
    one = evaluated_on_ranks(0, 1)
    for values in gloo(evaluated_on_ranks):
        assert values == pytest.approx(one, rel=1e-10, abs=1e-12)


def test_a_process_without_a_share_of_the_samples_holds_nobody_up(gloo: GlooPool) -> None:
    one = trained_with_few_samples_on_ranks(0, 1)
    for values in gloo(trained_with_few_samples_on_ranks):
        assert values == pytest.approx(one, rel=1e-10, abs=1e-12)


class Foreign(LightningModule):
    """A module of someone else's, with or without ``sample``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.layer(batch[0]).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class ForeignSampler(Foreign):
    def sample(self, n: int, *, seed: int | None = None, start: int = 0) -> Tensor:
        z = torch.randn(start + n, 2, generator=torch.Generator().manual_seed(seed or 0))[start:]
        return self.layer(z).detach()


LOADER = DataLoader(TensorDataset(torch.randn(80, 2, generator=torch.Generator().manual_seed(0))), batch_size=40)


def test_a_foreign_module_and_loader() -> None:
    metrics = points(metrics=[FrechetDistance()])
    quiet_trainer(callbacks=[metrics], **ONCE).fit(ForeignSampler(), LOADER, LOADER)
    assert metrics.latest["protocol"]["n_real"] == 80
    assert metrics.latest["floors"] == {}
    assert metrics.latest["values"]["fid"] > 0


def test_what_is_left_out_is_what_has_no_values_of_these_samples() -> None:
    metrics = points(n_samples=150)
    trainer = quiet_trainer(callbacks=[metrics])
    # too few training samples for the floor of NumberOfDifferentBins, enough generated ones for its value
    trainer.validate(make("NSGAN"), datamodule=ring(train_size=30, val_size=120), verbose=False)
    assert "ndb" in metrics.latest["values"]
    assert "ndb" not in metrics.latest["floors"]
    assert "Authenticity" in metrics.latest["left_out"]
    assert "NumberOfDifferentBins" not in metrics.latest["left_out"]


def test_of_several_loaders_the_first_is_held_out() -> None:
    class OfTwo(ForeignSampler):
        def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None: ...

    metrics, other = points(), DataLoader(TensorDataset(torch.full((40, 2), 50.0)), batch_size=40)
    quiet_trainer(callbacks=[metrics]).validate(OfTwo(), [LOADER, other], verbose=False)
    assert metrics.latest["protocol"]["n_real"] == 80


def test_mistakes_are_named() -> None:
    named = DataLoader([{"x": torch.zeros(2)}] * 4)
    with pytest.raises(TypeError, match=r"val loader.* type dict"):
        quiet_trainer(callbacks=[points()]).validate(ForeignSampler(), named, verbose=False)
    for callback in (points(), WeightSpectrum(), callbacks.SampleGrid()):
        with pytest.raises(TypeError, match="Foreign"):
            quiet_trainer(callbacks=[callback]).fit(Foreign(), LOADER, LOADER)
    with pytest.raises(ValueError, match=r"raw=True.*ForeignSampler"):
        quiet_trainer(callbacks=[points(raw=True)]).fit(ForeignSampler(), LOADER, LOADER)
    with pytest.raises(ValueError, match="n_samples=1"):
        points(n_samples=1)
    with pytest.raises(ValueError, match="at most once"):
        points(metrics=[FrechetDistance(), FrechetDistance()])
    with pytest.raises(ValueError, match="at least one"):
        points(metrics=[])
    with pytest.raises(ValueError, match="ModeCoverage needs modes"):
        quiet_trainer(callbacks=[points(metrics=[ModeCoverage()])], **ONCE).fit(ForeignSampler(), LOADER, LOADER)


def test_the_global_random_state_is_left_alone() -> None:
    model, data = make("NSGAN"), ring()
    trainer = quiet_trainer(callbacks=[points()], **ONCE)
    trainer.fit(model, data)
    before = torch.get_rng_state()
    trainer.validate(model, datamodule=data, verbose=False)
    assert torch.equal(torch.get_rng_state(), before)
