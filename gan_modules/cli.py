"""The command line: `gan-modules fit | validate | test | sample | diagnose`. It alone imports all three packages."""

from __future__ import annotations

import os
import secrets
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import DefaultHelpFormatter, Namespace
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

# imported for their classes, which are then known by short name and found again by checkpoints
import datamodules.whitening  # noqa: F401
import gan_modules.losses
import gan_modules.networks
import gan_modules.penalties
import gan_modules.rules  # noqa: F401
from callbacks import SampleMetrics
from callbacks.examination import for_examination
from gan_modules import run_directory
from gan_modules.base import GameModule
from gan_modules.checkpoint_config import check_fits, load_checkpoint, read_config, versions
from gan_modules.trainer import GameTrainer

EVALUATION_COMMANDS = ("validate", "test", "sample", "diagnose")
WANDB_MODES = ("offline", "online", "off")
#: the Trainer's settings for a look at a checkpoint that leaves nothing behind but its report, whatever the run's were
_NOTHING_WRITTEN = {
    "logger": False, "enable_checkpointing": False, "enable_model_summary": False, "fast_dev_run": False,
    "num_sanity_val_steps": 0, "max_epochs": -1, "max_steps": -1, "max_time": None, "profiler": None,
}  # fmt: skip

_HELP = """\
Train GANs that stay stable, and see why when they don't.

  gan-modules fit --config configs/quickstart.yaml              train on real digits, 2 minutes on a laptop
  gan-modules fit --config configs/quickstart.yaml --model WGANGP       the same with another variant
  gan-modules fit --config ... --ckpt_path last                 continue a run that was stopped
  gan-modules test --ckpt_path runs/quickstart                  every metric on the test split, as a table and JSON
  gan-modules sample --ckpt_path runs/quickstart --n 1000 --out samples.npz
  gan-modules diagnose --ckpt_path runs/quickstart              what is wrong, why and what to try; an HTML report
  gan-modules fit --model my_project.MyGAN --data DigitsDataModule --data.batch_size 64
                                                                your own class, from the current directory

Any setting of a config can be given as a flag, several --config are merged, the last one wins:
  gan-modules fit --config configs/quickstart.yaml --model.gamma 1 --trainer.max_epochs 4
  gan-modules fit --config configs/quickstart.yaml --wandb online
  gan-modules fit --config configs/quickstart.yaml --print_config       everything there is to set
  gan-modules fit --model.help WGANGP                           what a class takes
"""


class _Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the lines of the description."""


class RunConfig(Callback):
    """Puts the resolved configuration into the run's directory, every checkpoint and every logger's record of the run.

    A run that fails before its first iteration gives its directory back to the earlier run that was set aside for it.
    """

    def __init__(self, text: str, root: Path, aside: Path | None) -> None:
        self.text = text
        self.root = root
        self.aside = aside
        self._began = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began = True
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            (self.root / run_directory.CONFIG).write_text(self.text)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and not self._began:
            run_directory.restore(self.root, self.aside)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self.text))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self.text
        checkpoint["versions"] = versions()


class LastCheckpoint(Checkpoint):
    """Writes checkpoints/last.ckpt after every validation and every epoch, whatever the metrics say.

    Lightning's own ``save_last`` beside a monitored metric is written only where the metric improved.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last_model_path = ""
        self._saved_at = -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        done = trainer.global_step
        if trainer.state.fn != "fit" or trainer.sanity_checking or done == self._saved_at:
            return
        trainer.save_checkpoint(self.path, weights_only=False)
        self.last_model_path, self._saved_at = str(self.path), done


class GameCLI(LightningCLI):
    """LightningCLI in subclass mode: a run directory, configurations in checkpoints, `sample` and `diagnose`."""

    #: where an earlier run of the same directory was moved
    aside: Path | None = None

    def __init__(self, args: Sequence[str] | None = None) -> None:
        try:
            super().__init__(
                model_class=GameModule,
                datamodule_class=LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,  # dies on a second run into one W&B directory; see RunConfig
                trainer_class=GameTrainer,
                trainer_defaults={"default_root_dir": "runs/latest"},
                seed_everything_default=0,
                parser_kwargs={"description": _HELP, "formatter_class": _Formatter},
                args=list(sys.argv[1:] if args is None else args),
                auto_configure_optimizers=False,
            )
        finally:
            run_directory.release()

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {
            "fit": {"model", "train_dataloaders", "val_dataloaders", "datamodule", "weights_only"},
            "validate": {"model", "dataloaders", "datamodule", "weights_only"},
            "test": {"model", "dataloaders", "datamodule", "weights_only"},
            "sample": {"model", "datamodule"},
            "diagnose": {"model", "datamodule"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--wandb", default="offline", help="Weights & Biases: offline (needs no account), online, or off."
        )
        parser.add_argument(
            "--threads", type=int | None, default=None, help="CPU threads; 1 is best for small networks. null: all."
        )
        parser.add_argument(
            "--trust",
            default="",
            help="Packages, comma-separated, that a checkpoint may import beside the shipped ones.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        self.config = parser.parse_args(args)
        if self.section.seed_everything is True:
            self.section.seed_everything = secrets.randbelow(2**31)

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning would let the checkpoint's hyperparameters override what the user asked for."""

    # --- before anything is built -----------------------------------------------------------------------------------

    @property
    def section(self) -> Namespace:
        """The settings of the subcommand."""
        section: Namespace = self.config[self.config.subcommand]
        return section

    @property
    def root(self) -> Path:
        return Path(self.section.trainer.default_root_dir)

    def before_instantiate_classes(self) -> None:
        if self.section.threads is not None:
            torch.set_num_threads(self.section.threads)
        if self.section.wandb not in WANDB_MODES:
            raise SystemExit(f"--wandb {self.section.wandb}: must be one of {', '.join(WANDB_MODES)}.")
        if str(self.section.trainer.strategy).startswith("deepspeed"):
            raise SystemExit("gan-modules: DeepSpeed drives one optimizer, a game has two: use --trainer.strategy ddp.")
        if self.subcommand == "fit":
            self.config_text = self._dump_section()
        for part in (self.section.model, self.section.data):
            arguments = part.get("init_args", {}) if part is not None else {}
            if "seed" in arguments and arguments["seed"] is None:
                arguments["seed"] = int(self.section.seed_everything or 0)
        self._dump_config()  # what becomes hyperparameters: with seeds, and paths as the user gave them
        for item in [*_items(self.section.trainer.callbacks), *_items(self.section.trainer.logger)]:
            for name in ("dirpath", "save_dir"):
                if name in item.get("init_args", {}):
                    item.init_args[name] = run_directory.inside(self.root, item.init_args[name])

    def _dump_section(self) -> str:
        kept = self.section.clone()
        kept.pop("config", None)
        kept.ckpt_path = None  # a rerun of the saved configuration is a fresh run
        text: str = self._parser(self.subcommand).dump(kept, skip_unset=False)
        return text

    def _enter_run_directory(self) -> None:
        resume = self.section.ckpt_path
        try:
            if resume is not None:
                path = self.root if resume == "last" else Path(resume)
                path = run_directory.last_checkpoint(path) if resume == "last" or path.is_dir() else path
                load_checkpoint(path)  # unreadable ones are told here, before anything of this run is written
                self.section.ckpt_path = self.config_init[self.config.subcommand].ckpt_path = str(path)
            self._claim_root(fresh=resume is None)
        except (FileNotFoundError, RuntimeError, ValueError) as error:
            raise SystemExit(f"gan-modules: {error}") from error

    @rank_zero_only
    def _claim_root(self, fresh: bool) -> None:
        run_directory.claim(self.root)
        if fresh and (aside := run_directory.set_aside(self.root)) is not None:
            print(f"{self.root} held an earlier run, which is now in {aside}.")
            run_directory.claim(self.root)
            self.aside = aside
        run_directory.run_id(self.root)

    # --- the trainer ------------------------------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        if self.subcommand == "fit" and not self.section.trainer.fast_dev_run:
            self._enter_run_directory()  # the model and the data are there: most mistakes have been told
        if self.subcommand == "diagnose":
            kwargs |= _NOTHING_WRITTEN
        elif self.section.trainer.logger in (None, True):
            kwargs["logger"] = self._loggers() if self.subcommand == "fit" else False
        return super().instantiate_trainer(**kwargs)

    def before_validate(self) -> None:
        """Leave the table to SampleMetrics, whose own says more."""
        if any(isinstance(callback, SampleMetrics) for callback in self.trainer.callbacks):  # type: ignore[attr-defined]
            self.config_init[self.config.subcommand].verbose = False

    before_test = before_validate

    def before_diagnose(self) -> None:
        """Refuse at once what would fail later."""
        path, steps = self.section.ckpt_path, self.section.steps
        if steps < 1:
            raise SystemExit(f"gan-modules: --steps {steps}: at least 1 iteration.")
        try:
            check_fits(self.model, load_checkpoint(path), path)
        except (FileNotFoundError, ValueError) as error:
            raise SystemExit(f"gan-modules: {error}") from error

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        given = [*(config.get("callbacks") or []), *callbacks]
        if self.subcommand == "fit":
            given.append(RunConfig(self.config_text, self.root, self.aside))
            keeps_last = any(isinstance(c, ModelCheckpoint) and c.save_last for c in given)
            if config["enable_checkpointing"] is not False and not config["fast_dev_run"] and not keeps_last:
                given.append(LastCheckpoint(self.root / run_directory.LAST))
        elif self.subcommand == "diagnose":
            given = for_examination(given, self.datamodule)
        return self.trainer_class(**{**config, "callbacks": given})

    def _loggers(self) -> list[Logger]:
        """CSV and W&B, in the run's directory."""
        loggers: list[Logger] = [CSVLogger(self.root, name="metrics")]
        if self.section.wandb != "off":
            offline = self.section.wandb == "offline"
            loggers.append(
                WandbLogger(
                    name=self.root.name, save_dir=self.root, offline=offline, project="gan-modules",
                    id=run_directory.run_id(self.root), resume="allow",
                )
            )  # fmt: skip
        return loggers


def _items(value: Any) -> list[Namespace]:
    """The class paths of a setting that may be one, a list, or neither."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Namespace)]


def with_checkpoint_config(args: list[str]) -> list[str]:
    """For a command on a checkpoint, put the configuration that the checkpoint carries before the user's settings.

    ``--ckpt_path`` may be a checkpoint, or the directory of a run for its last one.
    """
    if not args or args[0] not in EVALUATION_COMMANDS or {"-h", "--help"} & set(args):
        return args
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("--trust", default="")
    parser.add_argument("--config", "-c", action="append")
    known, rest = parser.parse_known_args(args[1:])
    if known.ckpt_path is None:
        raise ValueError(f"gan-modules {args[0]} needs --ckpt_path: a checkpoint, or the directory of a run.")
    path = Path(known.ckpt_path)
    path = run_directory.last_checkpoint(path) if path.is_dir() else path
    configs = known.config or [yaml.safe_dump(read_config(path, known.trust.split(",")))]
    given = [part for config in configs for part in ("--config", config)]
    if path.parent.name == run_directory.LAST.parent.name:  # what is written goes to the run, wherever we are
        given += ["--trainer.default_root_dir", str(path.parent.parent)]
    return [args[0], *given, "--ckpt_path", str(path), *rest]


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the console script."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # last: a user's own package is found, and hides none that is installed
    given = list(sys.argv[1:] if args is None else args)
    try:
        given = with_checkpoint_config(given)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"gan-modules: {error}") from error
    GameCLI(given)
