"""`gan-modules diagnose`: from a checkpoint alone, whatever game it is of, and clear errors where it is none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT

from callbacks import GradientHealth
from callbacks.examination import Examination, _observations
from callbacks.failures import Observation
from callbacks.failures import diagnose as diagnose_observations
from gan_modules import NSGAN
from gan_modules.cli import main
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.trainer import GameTrainer

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIGS = ROOT / "configs"
SMALL = (
    "--data.epoch_iterations", "6", "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "2", "--wandb", "off",
    "--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false",
    "--trainer.accelerator", "cpu",
)  # fmt: skip
#: few points, so that metrics take no time
RING = ("--data.train_size", "300", "--data.val_size", "200")


def fit(root: Path, config: str, *flags: str, n_samples: int = 200) -> Path:
    """A short run of a recipe, with few samples where it takes any."""
    recipe = yaml.safe_load((CONFIGS / config).read_text())
    for callback in recipe["trainer"]["callbacks"]:
        if callback["class_path"] == "callbacks.SampleMetrics":
            callback["init_args"]["n_samples"] = n_samples
    root.parent.mkdir(exist_ok=True)
    written = root.parent / "recipe.yaml"
    written.write_text(yaml.safe_dump(recipe))
    main(["fit", "--config", str(written), *SMALL, "--trainer.default_root_dir", str(root), *flags])
    return root


def diagnose(path: Path, *flags: str) -> None:
    main(["diagnose", "--ckpt_path", str(path), "--trainer.enable_progress_bar", "false", "--steps", "4", *flags])


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the ring whose recipe has no diagnostics, but for the Diagnosis that keeps its history."""
    flags = ("--trainer.callbacks+", "callbacks.Diagnosis")
    return fit(tmp_path_factory.mktemp("runs") / "ring", "ring/nsgan.yaml", *RING, *flags)


@pytest.fixture
def checkpoint(ring: Path, tmp_path: Path) -> Callable[..., Path]:
    """A changed copy of the run's checkpoint, in a directory of its own."""

    def change(how: Callable[[dict[str, Any]], Any] = lambda c: None) -> Path:
        content = torch.load(ring / "checkpoints/last.ckpt", weights_only=True)
        how(content)
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return change


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_it_leaves_nothing_but_the_report(ring: Path) -> None:
    before = files(ring)
    diagnose(ring)
    after = files(ring)
    document = after.pop("report.html").decode()
    assert after == before
    for title in ("Diagnosis", "Samples", "Modes", "Curves of the run", "Curvature", "Spectra of weights"):
        assert f">{title}</h2>" in document
    assert "Curves of losses from iteration" in document


def test_a_checkpoint_alone_will_do(checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = checkpoint()
    out = path.parent / "elsewhere" / "r.html"
    diagnose(path, "--out", str(out))
    document = out.read_text()
    assert "Curves of modes covered from iteration 6" in document  # of the history that the checkpoint holds
    assert "gan-modules" in document
    assert str(out) in capsys.readouterr().out
    assert sorted(p.name for p in path.parent.iterdir()) == ["changed.ckpt", "elsewhere"]


@pytest.mark.parametrize("config", ["toy/dirac.yaml", "toy/bilinear.yaml"])
def test_toys_have_a_report_without_pictures_of_samples(tmp_path: Path, config: str) -> None:
    root = fit(tmp_path / "toy", config)
    diagnose(root)
    document = (root / "report.html").read_text()
    assert ">The game&#x27;s spectrum</h2>" in document
    assert "<img" not in document


def test_a_conditional_gan_on_images(tmp_path: Path) -> None:
    root = fit(tmp_path / "digits", "digits/conditional_gan.yaml")
    diagnose(root)
    document = (root / "report.html").read_text()
    assert document.count("<img") == 2
    assert ">Power spectrum of images</h2>" in document
    assert "modes have at least a fifth of their share" in document


def test_what_fails_is_named_and_the_rest_goes_on(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.\nA second line.")

    monkeypatch.setattr(GradientHealth, "look", too_large)
    diagnose(ring, "--out", str(tmp_path))  # a folder that is there
    document = (tmp_path / "report.html").read_text()
    assert re.search(r"GradientHealth</th><td[^>]*>CUDA out of memory\. Tried to allocate 1 GiB\.<", document)
    assert ">Spectra of weights</h2>" in document
    assert "not measured: GradientHealth" in capsys.readouterr().out


def test_numbers_that_are_lost_on_the_way_are_reported(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    def explode(content: dict[str, Any]) -> None:
        content["optimizer_states"][0]["param_groups"][0]["lr"] = 1e30
        for state in content["lr_schedulers"]:
            state["base_lrs"], state["_last_lr"] = [1e30], [1e30]

    diagnose(checkpoint(explode), "--out", str(tmp_path / "r.html"))
    document = (tmp_path / "r.html").read_text()
    assert "4 iterations from there" in document
    assert ">numerical trouble</h3>" in document


def collapsed(values: dict[str, float]) -> Observation:
    return Observation(900, values | {"modes_floor": 8.0, "recall_floor": 1.0, "coverage_floor": 1.0})


def test_a_checkpoint_without_history_is_judged_for_what_it_is() -> None:
    now = collapsed({"modes": 2.0, "recall": 0.1, "coverage": 0.1})
    assert [f.failure for f in diagnose_observations(_observations([], now))] == ["mode collapse"]


def test_a_run_that_still_learns_is_told_by_its_history() -> None:
    now = collapsed({"modes": 2.0, "recall": 0.1, "coverage": 0.1})
    past = [Observation(i, now.values | {"modes": i / 900, "coverage": i / 9000}) for i in range(100, 900, 100)]
    assert diagnose_observations(_observations(past, now)) == []
    stays = [Observation(i, now.values) for i in range(100, 900, 100)]
    assert [f.failure for f in diagnose_observations(_observations(stays, now))] == ["mode collapse"]


def test_what_the_run_never_measured_counts_at_once() -> None:
    now = Observation(900, {"fid": 1.0, "weights/generator/spectral_collapse": 1.0})
    past = [Observation(i, {"fid": 1.0}) for i in range(100, 900, 100)]
    assert [f.failure for f in diagnose_observations(_observations(past, now))] == ["spectral collapse"]


def broken(content: dict[str, Any]) -> None:
    content["state_dict"].pop(next(iter(content["state_dict"])))


def weights_alone(content: dict[str, Any]) -> None:
    content.pop("optimizer_states")


def of_a_later_version(content: dict[str, Any]) -> None:
    content["versions"]["gan-modules"] = "9.0.0"
    content["config"] = content["config"].replace("gan_modules.NSGAN", "gan_modules.NewGAN")


def older_networks(content: dict[str, Any]) -> None:
    content["versions"]["gan-modules"] = "0.0.1"
    broken(content)


def foreign_class(content: dict[str, Any]) -> None:
    content["config"] = content["config"].replace("gan_modules.NSGAN", "elsewhere.NSGAN")


def no_configuration(content: dict[str, Any]) -> None:
    content.pop("config")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (broken, "does not fit the NSGAN: generator.* is missing"),
        (weights_alone, "holds no optimizer_states"),
        (of_a_later_version, r"gan_modules.NewGAN, which gan-modules .* does not have.*9\.0\.0 \(here"),
        (older_networks, r"is missing.*written with gan-modules 0\.0\.1 \(here"),
        (foreign_class, "may only import registered classes.*--trust elsewhere"),
        (no_configuration, "carries no configuration"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_checkpoint_that_will_not_do_is_refused_at_once(checkpoint: Any, how: Any, said: str) -> None:
    with pytest.raises(SystemExit, match=f"(?s){said}"):
        diagnose(checkpoint(how))


def test_a_file_that_is_cut_off_or_missing(ring: Path, tmp_path: Path) -> None:
    whole = (ring / "checkpoints/last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SystemExit, match="not a readable checkpoint"):
        diagnose(tmp_path / "cut.ckpt")
    with pytest.raises(SystemExit, match="no such checkpoint"):
        diagnose(tmp_path / "none.ckpt")


def test_steps_below_one_are_refused(ring: Path) -> None:
    with pytest.raises(SystemExit, match="--steps 0: at least 1"):
        diagnose(ring, "--steps", "0")


def test_a_trainer_without_an_examination_says_so(ring: Path) -> None:
    networks = MLPGenerator((2,), latent_dim=3, width=8, depth=2), MLPDiscriminator((2,), width=8, depth=2)
    trainer = GameTrainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    with pytest.raises(TypeError, match="Examination"):
        trainer.diagnose(NSGAN(*networks), ckpt_path=str(ring / "checkpoints/last.ckpt"))
    assert Examination in {type(c) for c in GameTrainer(callbacks=[Examination()], logger=False).callbacks}
