"""The command line as a user meets it, each command in a process of its own."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wandb_file
import yaml
from conftest import ROOT
from conftest import runner as command_in

Command = Callable[..., subprocess.CompletedProcess[str]]
QUICKSTART = ("fit", "--config", ROOT / "configs" / "quickstart.yaml")
#: the quickstart, small: the same parts, few iterations
SMALL = (
    "--data.epoch_iterations", "6", "--trainer.log_every_n_steps", "3", "--trainer.enable_progress_bar", "false",
    "--trainer.max_epochs", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which a small quickstart ran, with W&B offline."""
    directory = tmp_path_factory.mktemp("run")
    command_in(directory)(*QUICKSTART, *SMALL)
    return directory


def rows(root: Path) -> list[dict[str, str]]:
    (path,) = root.glob("metrics/version_0/metrics.csv")
    return list(csv.DictReader(path.open()))


def logged_at(root: Path, step: int) -> set[str]:
    return {name for row in rows(root) if int(row["step"]) == step for name, value in row.items() if value}


def test_every_validation_logs_metrics_and_gradient_norms(run: Path) -> None:
    expected = {"fid", "fid_floor", "fid_untrained", "modes", "mode_kl", "mode_share_min"}
    expected |= {f"{kind}/{player}" for kind in ("loss", "grad_norm") for player in ("generator", "discriminator")}
    for validation in (5, 11):  # steps count from 0
        assert expected <= logged_at(run / "runs/quickstart", validation)


def test_a_run_leaves_pictures_checkpoints_and_its_configuration(run: Path) -> None:
    root = run / "runs/quickstart"
    assert [p.name for p in sorted(root.glob("samples/*.png"))] == ["000006.png", "000012.png"]
    assert {p.name for p in root.glob("checkpoints/*")} == {"best.ckpt", "last.ckpt"}
    config = yaml.safe_load((root / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 2
    assert torch.load(root / "checkpoints/last.ckpt", weights_only=True)["config"] == (root / "config.yaml").read_text()


def test_wandb_records_offline_the_history_a_picture_and_the_configuration(run: Path) -> None:
    (path,) = (run / "runs/quickstart/wandb").glob("offline-run-*/*.wandb")
    history, config = wandb_file.read(path)
    keys = {key.split("/_type")[0] for record in history for key in record}
    assert {"fid", "modes", "loss/discriminator", "grad_norm/generator"} <= keys
    assert any(key.startswith("samples") for key in keys)
    assert config["trainer"]["max_epochs"] == 2
    assert config["model"]["class_path"].startswith("gan_modules.")


def test_wandb_records_every_value_of_every_evaluation_and_its_protocol(run: Path) -> None:
    (path,) = (run / "runs/quickstart/wandb").glob("offline-run-*/*.wandb")
    history, config = wandb_file.read(path)
    records = [record for record in history if "fid" in record]
    lines = (run / "runs/quickstart/evaluation/fit.jsonl").read_text().splitlines()
    assert len(records) == len(lines) == 2
    for record, line in zip(records, map(json.loads, lines), strict=True):
        assert record["trainer/global_step"] == line["iteration"] - 1  # steps count from 0
        expected = line["values"] | {f"{name}_floor": value for name, value in line["floors"].items()}
        assert {"fid", "coverage", "vendi", "modes", "fid_floor"} <= expected.keys()
        for name, value in expected.items():
            assert record[name] == pytest.approx(value, rel=1e-6), name
        assert config["evaluation"]["val"] == line["protocol"]


def test_sample_needs_only_the_checkpoint(run: Path, tmp_path: Path) -> None:
    command = command_in(tmp_path)
    command("sample", "--ckpt_path", run / "runs/quickstart", "--n", 70, "--seed", 3, "--out", "a.npz")
    command(
        "sample", "--ckpt_path", run / "runs/quickstart/checkpoints/last.ckpt",
        "--n", 6, "--seed", 3, "--start", 64, "--out", "pngs",
    )  # fmt: skip
    samples = np.load(tmp_path / "a.npz")["samples"]
    assert samples.shape == (70, 1, 8, 8)
    assert samples.min() >= 0
    assert samples.max() <= 1
    from PIL import Image

    names = sorted(p.name for p in (tmp_path / "pngs").iterdir())
    assert names == [f"{i:06d}.png" for i in range(64, 70)]
    picture = np.array(Image.open(tmp_path / "pngs" / names[2]))
    np.testing.assert_allclose(picture / 255, samples[66, 0], atol=1 / 255)


def test_validate_and_test_need_only_the_checkpoint(run: Path, tmp_path: Path) -> None:
    command = command_in(tmp_path)
    last = run / "runs/quickstart/checkpoints/last.ckpt"
    validated = command("validate", "--ckpt_path", last).stdout
    trained = [row["fid"] for row in rows(run / "runs/quickstart") if row["fid"]][-1]
    (line,) = (line for line in validated.splitlines() if " fid " in line)
    assert float(line.split()[3]) == pytest.approx(float(trained), rel=1e-3)
    assert " modes " in command("test", "--ckpt_path", run / "runs/quickstart").stdout
    written = {
        split: json.loads((run / f"runs/quickstart/evaluation/{split}.json").read_text())
        for split in ("validate", "test")
    }
    assert written["validate"]["values"]["fid"] == pytest.approx(float(trained), rel=1e-6)
    # digits have classes, pixels and probabilities: all but what asks for labels of the generator, or for a manifold
    assert written["test"]["left_out"].keys() <= {"ClassConditionalFID", "GeodesicCoverage", "FrechetInfinity"}
    assert written["test"]["checkpoint"].endswith("last.ckpt")
    assert written["test"]["iteration"] > 0


def test_two_processes_report_what_one_does(run: Path, tmp_path: Path) -> None:
    done = command_in(tmp_path)(
        *QUICKSTART, *SMALL, "--wandb", "off",
        "--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert "unused" not in done.stdout + done.stderr
    # the same parameters give the same numbers; trained ones differ by rounding, which Adam's first steps amplify
    tolerance = {"fid_floor": 1e-6, "fid_untrained": 1e-6, "fid": 5e-2, "loss/discriminator": 2e-2}
    compared = 0
    for alone, together in zip(rows(run / "runs/quickstart"), rows(tmp_path / "runs/quickstart"), strict=True):
        for name in filter(alone.get, tolerance):
            assert float(together[name]) == pytest.approx(float(alone[name]), rel=tolerance[name]), name
            compared += 1
    assert compared == 2 * 3 + 4


@pytest.mark.parametrize("stop", [["--trainer.max_epochs", 1], ["--trainer.max_steps", 8]], ids=["epoch", "mid-epoch"])
def test_last_in_a_new_process_continues_bit_for_bit(run: Path, tmp_path: Path, stop: list[Any]) -> None:
    command = command_in(tmp_path)
    checkpoint = [
        "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
        "--trainer.callbacks.dirpath=checkpoints", "--trainer.callbacks.save_last=true",
        "--trainer.callbacks.every_n_train_steps=4", "--trainer.callbacks.save_top_k=0",
    ]  # fmt: skip
    command(*QUICKSTART, *SMALL, "--wandb", "off", *stop, *(checkpoint if "--trainer.max_steps" in stop else []))
    command(*QUICKSTART, *SMALL, "--wandb", "off", "--ckpt_path", "last")
    whole = torch.load(run / "runs/quickstart/checkpoints/last.ckpt", weights_only=True)
    resumed = torch.load(tmp_path / "runs/quickstart/checkpoints/last.ckpt", weights_only=True)
    assert whole["global_step"] == resumed["global_step"] == 12
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_a_second_run_sets_the_first_aside(run: Path, tmp_path: Path) -> None:
    (tmp_path / "runs/quickstart").mkdir(parents=True)
    (tmp_path / "runs/quickstart/config.yaml").write_text("an earlier run")
    done = command_in(tmp_path)(*QUICKSTART, *SMALL, "--wandb", "off", "--trainer.max_steps", 1)
    assert "runs/quickstart.1" in done.stdout
    assert (tmp_path / "runs/quickstart.1/config.yaml").read_text() == "an earlier run"


def test_help_teaches(command: Command) -> None:
    text = command("--help").stdout
    for word in ("gan-modules fit --config", "sample", "--ckpt_path last", "--wandb online", "my_project.MyGAN"):
        assert word in text
    assert "gp_weight" in command("fit", "--model.help", "WGANGP").stdout
