"""A user outside the repository: their own module, their own loss, their own script, and their mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, runner
from recipes import make, quiet_trainer, ring

from gan_modules.cli import main

Command = Callable[..., subprocess.CompletedProcess[str]]

MY_PROJECT = '''
import torch
from torch import nn
from gan_modules import GANModule
from gan_modules.losses import AdversarialLoss, Hinge


class MyGenerator(nn.Module):
    def __init__(self, hidden: int = 16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, z):
        return self.net(z).view(-1, 1, 8, 8)


class Absolute(AdversarialLoss):
    """A loss of one's own."""

    def discriminator(self, d):
        return (d.real_logits - 1).abs().mean() + d.fake_logits.abs().mean()

    def generator(self, d):
        return (d.fake_logits - 1).abs().mean()


class MyGAN(GANModule):
    """A GAN of one's own: networks inside, one more setting."""

    def __init__(self, hidden: int = 16, **kwargs):
        discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        super().__init__(MyGenerator(hidden), discriminator, loss=Hinge(), latent_dim=5, **kwargs)
'''

SCRIPT = """
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset
from my_project import MyGAN

model = MyGAN(hidden=8)
data = DataLoader(TensorDataset(torch.rand(64, 1, 8, 8)), batch_size=16)
trainer = Trainer(max_steps=6, accelerator="cpu", logger=False, enable_progress_bar=False, log_every_n_steps=1)
trainer.fit(model, data)
assert trainer.global_step == 6
trainer.save_checkpoint("mine.ckpt")
again = MyGAN.load_from_checkpoint("mine.ckpt", weights_only=True)
assert torch.equal(again.sample(3), model.sample(3)) and again.sample(3).shape == (3, 1, 8, 8)
"""

FIT = (
    "--data", "DigitsDataModule", "--data.batch_size", 8, "--data.epoch_iterations", 2, "--trainer.max_epochs", 1,
    "--wandb", "off", "--trainer.accelerator", "cpu", "--trainer.default_root_dir", "runs/mine",
    "--trainer.enable_progress_bar", "false",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "my_project.py").write_text(MY_PROJECT)
    return tmp_path


def test_a_module_of_ones_own_trains_by_class_path_from_the_current_directory(project: Path) -> None:
    command = runner(project)
    command("fit", "--model", "my_project.MyGAN", "--model.hidden", 12, "--model.ema_decay", 0.5, *FIT)
    hparams = torch.load(project / "runs/mine/checkpoints/last.ckpt", weights_only=True)["hyper_parameters"]
    assert hparams["hidden"] == 12
    assert hparams["ema_decay"] == 0.5
    refused = command("sample", "--ckpt_path", "runs/mine", "--out", "s.npz", fails=True)
    assert "--trust my_project" in refused.stderr
    command("sample", "--ckpt_path", "runs/mine", "--out", "s.npz", "--trust", "my_project")
    assert (project / "s.npz").exists()


def test_a_loss_of_ones_own_in_a_shipped_module(project: Path) -> None:
    runner(project)(
        "fit", "--model", "GANModule", "--model.loss", "my_project.Absolute",
        "--model.generator", "my_project.MyGenerator", "--model.latent_dim", 5,
        "--model.discriminator", "MLPDiscriminator", "--model.discriminator.shape", "[1,8,8]", *FIT,
    )  # fmt: skip
    assert (project / "runs/mine/checkpoints/last.ckpt").exists()


def test_a_plain_script(project: Path) -> None:
    (project / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=project, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# --- mistakes ---

QUICKSTART = ["fit", "--config", str(ROOT / "configs" / "quickstart.yaml"), "--wandb", "off"]


def fails(*args: Any, monkeypatch: pytest.MonkeyPatch, where: Path) -> BaseException:
    monkeypatch.chdir(where)
    with pytest.raises((ValueError, SystemExit, RuntimeError)) as caught:
        main([*map(str, args)])
    return caught.value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model.generator.shape", "[1,9,9]", "--model.discriminator.shape", "[1,9,9]"], ["(1, 8, 8)", "(1, 9, 9)"]),
        (["--model.discriminator.shape", "[1,9,9]"], ["MLPGenerator", "MLPDiscriminator", "(1, 8, 8)"]),
        (["--trainer.gradient_clip_val", "1.0"], ["gradient_clip_norm"]),
        (["--trainer.accumulate_grad_batches", "2"], ["batch_size"]),
        (["--ckpt_path", "nowhere.ckpt"], ["nowhere.ckpt", "no such checkpoint"]),
        (["--ckpt_path", "last"], ["runs/quickstart", "last.ckpt"]),
    ],
)
def test_a_mistake_is_named(
    flags: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = str(fails(*QUICKSTART, *flags, monkeypatch=monkeypatch, where=tmp_path))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("flags", [["--model", "gan_modules.NoSuchGAN"], ["--data", "no_such_package.Data"]])
def test_an_unknown_class_path_is_named(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails(*QUICKSTART, *flags, monkeypatch=monkeypatch, where=tmp_path)
    assert flags[1] in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_broken_checkpoint_is_named(content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "broken.ckpt"
    if content is None:
        torch.save({"state_dict": {}}, path)
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(content)
    message = str(fails("sample", "--ckpt_path", path, monkeypatch=monkeypatch, where=tmp_path))
    assert "broken.ckpt" in message


@pytest.mark.parametrize("code", ["subprocess.Popen", "torch.hub.load", "my_project.MyGAN", "callbacks_of_mine.Log"])
@pytest.mark.parametrize("where", ["class_path", "argument"])
def test_a_checkpoint_that_names_foreign_code_is_refused(
    code: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("my_project", "callbacks_of_mine"):
        (tmp_path / f"{package}.py").write_text("open('pwned', 'w')")
    named = {"class_path": code} if where == "class_path" else {"init_args": {"generator_optimizer": code}}
    torch.save({"state_dict": {}, "config": json.dumps({"model": named})}, tmp_path / "c.ckpt")
    message = str(fails("sample", "--ckpt_path", "c.ckpt", monkeypatch=monkeypatch, where=tmp_path))
    assert code in message
    assert "--trust" in message
    assert not (tmp_path / "pwned").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_diverges_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    from gan_modules import NonFiniteError

    class Poison(torch.nn.Module):
        """A discriminator whose logits become NaN after a while."""

        def __init__(self) -> None:
            super().__init__()
            self.inner, self.calls = torch.nn.Linear(2, 1), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            logits: torch.Tensor = self.inner(x)
            return logits * (float("nan") if self.calls > 20 else 1.0)

    model = make("NSGAN")
    model.discriminator = Poison()
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=1, save_last=True)
    trainer = quiet_trainer(
        max_steps=50, log_every_n_steps=100, enable_checkpointing=True, callbacks=[keep], num_sanity_val_steps=0
    )
    with pytest.raises(NonFiniteError, match="not finite"):
        trainer.fit(model, ring())
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert 0 < kept["global_step"] < 20
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
