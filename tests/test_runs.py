"""What happens to a run's directory, seeds and checkpoints when runs end, fail, and go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT

from gan_modules.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``fit`` of the ring recipe, small, in an empty directory; returns the run's directory."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str, iterations: int = 4) -> Path:
        main(["fit", "--config", str(ROOT / "configs/ring/r3gan.yaml"), "--wandb", "off", "--data.train_size", "64",
              "--data.epoch_iterations", str(iterations), "--trainer.max_epochs", "1", "--data.batch_size", "8",
              "--trainer.enable_progress_bar", "false", *args])  # fmt: skip
        return tmp_path / "runs" / "ring-r3gan"

    return run


def last(root: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(root / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint


@pytest.mark.parametrize(
    ("args", "steps"),
    [
        (("--trainer.val_check_interval", "3"), 4),
        (("--trainer.max_epochs", "3", "--trainer.check_val_every_n_epoch", "2"), 12),
    ],
    ids=["validation within the epoch", "validation every second epoch"],
)
def test_the_last_weights_are_kept_whether_or_not_validation_comes_last(fit: Any, args: Any, steps: int) -> None:
    assert last(fit(*args))["global_step"] == steps


def test_seeds_given_for_a_part_win_over_the_seed_of_everything(fit: Any) -> None:
    root = fit("--seed_everything", "5", "--model.seed", "7")
    checkpoint = last(root)
    assert checkpoint["hyper_parameters"]["seed"] == 7
    assert checkpoint["datamodule_hyper_parameters"]["seed"] == 5


def test_a_random_seed_is_drawn_and_written_down(fit: Any) -> None:
    root = fit("--seed_everything", "true")
    drawn = yaml.safe_load((root / "config.yaml").read_text())["seed_everything"]
    assert drawn > 1
    assert last(root)["hyper_parameters"]["seed"] == drawn


def test_a_run_that_fails_before_it_begins_leaves_the_earlier_one_in_place(fit: Any) -> None:
    root = fit()
    before, config = last(root), (root / "config.yaml").read_text()
    for mistake in (("--trainer.gradient_clip_val", "1"), ("--data.val_size", "0"), ("--model.gamma", "wrong")):
        with pytest.raises((ValueError, SystemExit)):
            fit(*mistake)
    assert [path.name for path in root.parent.iterdir()] == ["ring-r3gan"]
    assert (root / "config.yaml").read_text() == config
    assert torch.equal(
        before["state_dict"]["generator.output.0.bias"], last(root)["state_dict"]["generator.output.0.bias"]
    )


def test_a_run_continues_with_the_model_it_began_with(fit: Any) -> None:
    root = fit()
    config = (root / "config.yaml").read_text()
    with pytest.raises(ValueError, match=r"of a gan_modules.R3GAN, and this run's model is a gan_modules.LSGAN"):
        fit("--model", "LSGAN", "--ckpt_path", "last")
    assert (root / "config.yaml").read_text() == config


def test_a_directory_or_a_broken_file_as_checkpoint(fit: Any, tmp_path: Path) -> None:
    root = fit()
    assert last(fit("--ckpt_path", str(root), "--trainer.max_epochs", "2"))["global_step"] == 8
    for content in (b"no checkpoint", b"hello\n"):  # the reader of pickles takes the second for a look-up
        (tmp_path / "broken.ckpt").write_bytes(content)
        with pytest.raises(SystemExit, match=r"broken\.ckpt is not a readable checkpoint"):
            fit("--ckpt_path", str(tmp_path / "broken.ckpt"))


def test_trackers_see_one_run_after_a_resume(fit: Any) -> None:
    first = fit().joinpath(".run_id").read_text()
    assert fit("--ckpt_path", "last").joinpath(".run_id").read_text() == first
    assert fit().joinpath(".run_id").read_text() != first


def test_evaluation_writes_into_the_run_wherever_it_is_called(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = fit()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    main(["validate", "--ckpt_path", str(root), "--trainer.enable_progress_bar", "false"])
    assert (root / "samples/validate.png").exists()
    assert not list(elsewhere.iterdir())


def test_deepspeed_is_refused(fit: Any) -> None:
    with pytest.raises(SystemExit, match=r"use --trainer\.strategy ddp"):
        fit("--trainer.strategy", "deepspeed")
