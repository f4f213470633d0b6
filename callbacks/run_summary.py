"""The table that a run ends with."""

from __future__ import annotations

import time
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from callbacks.collapse_alarm import CollapseAlarm
from callbacks.diagnosis import Diagnosis
from callbacks.game_spectrum import GameSpectrum
from callbacks.sample_grid import SampleGrid
from gan_modules.protocols import Sampler


class RunSummary(Callback):
    """Prints, when training has ended, how good the samples are, where everything is, and what to try next."""

    def __init__(self) -> None:
        self._started = 0.0
        self._seconds = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = time.monotonic()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seconds = time.monotonic() - self._started

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        table = Table(title=f"{type(pl_module).__name__}, {trainer.global_step} iterations", show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")  # a path is there to be copied, never cut off
        for name, value in (
            self._quality(trainer) | _stability(trainer) | _diagnosis(trainer) | self._places(trainer)
        ).items():
            table.add_row(name, value)
        console = Console()
        console.print(table)
        checkpoint = _checkpoint(trainer)
        if checkpoint is not None:
            console.print("Next:")
            for command in _next_commands(checkpoint, Path(trainer.default_root_dir), isinstance(pl_module, Sampler)):
                console.print(f"  {command}", soft_wrap=True, highlight=False)

    def _quality(self, trainer: Trainer) -> dict[str, str]:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        rows: dict[str, str] = {}
        if "fid" in metrics:
            rows["FID (held-out)"] = f"{metrics['fid']:.3g}"
            if floor := metrics.get("fid_floor"):
                rows["FID (held-out)"] += f" = {metrics['fid'] / floor:.1f} x the real-to-real floor {floor:.3g}"
        if "fid_untrained" in metrics:
            rows["FID untrained"] = f"{metrics['fid_untrained']:.3g}"
        if "precision" in metrics:
            rows["precision, recall"] = f"{metrics['precision']:.2f}, {metrics['recall']:.2f}"
            rows["coverage"] = f"{metrics['coverage']:.2f}"
            if "coverage_floor" in metrics:
                rows["precision, recall"] += (
                    f" (real samples {metrics['precision_floor']:.2f}, {metrics['recall_floor']:.2f})"
                )
                rows["coverage"] += f" (real samples {metrics['coverage_floor']:.2f})"
        if "modes" in metrics:
            rows["modes covered"] = f"{metrics['modes']:.0f}, KL {metrics['mode_kl']:.3f} nats"
            rows["rarest mode"] = f"{100 * metrics['mode_share_min']:.1f} % of the samples"
        if "distance" in metrics:
            rows["distance"] = f"{metrics['distance']:.4g} to the equilibrium"
        rows["training time"] = f"{self._seconds:.0f} s"
        return rows

    def _places(self, trainer: Trainer) -> dict[str, str]:
        rows = {"run": _relative(Path(trainer.default_root_dir))}
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, SampleGrid) and callback.path is not None:
                rows["samples"] = _relative(callback.path)
            if isinstance(callback, CollapseAlarm) and callback.path is not None:
                rows["before the collapse"] = _relative(callback.path)
            if isinstance(callback, GameSpectrum) and callback.path is not None:
                rows["spectrum"] = _relative(callback.path)
        checkpoint = _checkpoint(trainer)
        return rows if checkpoint is None else rows | {"checkpoint": _relative(checkpoint)}


def _stability(trainer: Trainer) -> dict[str, str]:
    """One row, where GameSpectrum has looked."""
    looks = [c for c in trainer.callbacks if isinstance(c, GameSpectrum) and c.answer is not None]  # type: ignore[attr-defined]
    return {"lr / h*": looks[-1].summary} if looks else {}


def _diagnosis(trainer: Trainer) -> dict[str, str]:
    """One row, where Diagnosis looks on."""
    found = [c.summary for c in trainer.callbacks if isinstance(c, Diagnosis)]  # type: ignore[attr-defined]
    return {"diagnosis": found[-1]} if found else {}


def _checkpoint(trainer: Trainer) -> Path | None:
    """The newest checkpoint: the one that is kept as the last, else the best."""
    names = ("last_model_path", "best_model_path")
    paths = [Path(path) for c in trainer.checkpoint_callbacks for name in names if (path := getattr(c, name, ""))]
    return next((path for path in paths if path.stem == "last"), paths[0] if paths else None)


def _relative(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _next_commands(checkpoint: Path, root: Path, samples: bool) -> list[str]:
    evaluate = [
        f"gan-modules sample --ckpt_path {_relative(checkpoint)} --n 1000 --seed 0 --out samples.npz",
        f"gan-modules test --ckpt_path {_relative(checkpoint)}",
    ]
    return [
        *(evaluate if samples else []),
        f"gan-modules fit --config {_relative(root / 'config.yaml')} --ckpt_path last --trainer.max_epochs 20",
        *([f"wandb sync {_relative(root)}/wandb/offline-run-*"] if any(root.glob("wandb/offline-run-*")) else []),
    ]
