"""Every shipped configuration runs as it stands, and every piece composes with the quickstart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from recipes import VARIANTS

from gan_modules.cli import main

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
PIECES = [path for path in CONFIGS if path.parent.name == "pieces"]
TOYS = [path for path in CONFIGS if "PointDataModule" in path.read_text()]
# recipes for images of files want those and a GPU: test_image_configs.py
RECIPES = [p for p in CONFIGS if p not in [*PIECES, *TOYS] and p.parent.name not in ("cifar10", "mnist", "folder")]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_recipe_trains_and_validates(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(path), "--wandb", "off", "--trainer.max_epochs", "1", "--data.epoch_iterations", "2",
          "--trainer.enable_progress_bar", "false"])  # fmt: skip
    (root,) = (tmp_path / "runs").iterdir()
    assert torch.load(root / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert list(root.glob("samples/*.png"))
    assert "fid" in (root / "metrics/version_0/metrics.csv").read_text()


@pytest.mark.parametrize("data", ["RingDataModule", "DigitsDataModule"])
def test_every_variant_has_a_recipe(data: str) -> None:
    recipes = [path.read_text() for path in RECIPES if data in path.read_text()]
    missing = [name for name in VARIANTS if not any(f"class_path: gan_modules.{name}\n" in text for text in recipes)]
    assert missing == ["GANModule"]


@pytest.mark.parametrize("path", TOYS, ids=lambda p: p.name)
def test_a_toy_logs_its_distance_and_its_stability(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(path), "--wandb", "off", "--trainer.max_epochs", "1", "--data.epoch_iterations", "100",
          "--trainer.enable_progress_bar", "false"])  # fmt: skip
    (root,) = (tmp_path / "runs").iterdir()
    assert torch.load(root / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 100
    assert [p.name for p in root.glob("spectra/*.png")] == ["000100.png"]
    header = (root / "metrics/version_0/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"distance", "game/unstable", "game/radius", "game/eigenvalue/1/imag"} <= set(header)


@pytest.mark.parametrize("path", PIECES, ids=lambda p: p.name)
def test_a_piece_composes_with_the_quickstart(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", str(QUICKSTART), "--config", str(path), "--print_config"])
    assert ended.value.code == 0
    merged = yaml.safe_load(capsys.readouterr().out)

    def holds(whole: Any, part: Any) -> bool:
        if isinstance(part, dict):
            return all(
                holds(whole[k[:-1]][-len(v) :], v) if k.endswith("+") else holds(whole[k], v) for k, v in part.items()
            )
        if isinstance(part, list):
            return len(whole) == len(part) and all(map(holds, whole, part))
        return bool(whole == part)

    assert holds(merged, yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(("flag", "offline"), [("offline", [True]), ("online", [False]), ("off", [])])
def test_the_wandb_flag(flag: str, offline: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented way to go online reaches the W&B logger, and no other."""
    from lightning.pytorch.loggers import WandbLogger

    import gan_modules.cli as cli

    monkeypatch.chdir(tmp_path)
    made: list[bool] = []

    def run(self: object, **kwargs: object) -> None:
        made.extend(bool(x._offline) for x in self.loggers if isinstance(x, WandbLogger))  # type: ignore[attr-defined]

    monkeypatch.setattr(cli.GameTrainer, "fit", lambda self, model, ckpt_path=None, datamodule=None: run(self))
    cli.main(["fit", "--config", str(QUICKSTART), "--wandb", flag])
    assert made == offline


def test_an_unknown_wandb_mode_is_named() -> None:
    with pytest.raises(SystemExit, match="--wandb sometimes"):
        main(["fit", "--config", str(QUICKSTART), "--wandb", "sometimes"])
