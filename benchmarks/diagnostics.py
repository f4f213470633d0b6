"""What diagnostics cost while training, as a share of training itself: one at a time, and all together.

    python -m benchmarks.diagnostics [--cases quickstart dcgan] [--epochs 10] [--epoch_iterations 1000] [--repeats 1]

The cases are the quickstart's networks on digits, and a DCGAN on made-up images of 3x32x32, batches of 64. Every class
of `callbacks` that is a Diagnostic runs as it is by default, looks before each validation and its own budget included;
`PowerSpectrum` is one of SampleMetrics, of which its own work counts alone; `Diagnosis` reads what the others measured.
The reference is training in the same run, on the same machine with the same load: all time between the first iteration
and the last but validations and the diagnostics' own hooks, those of every iteration included. The share is theirs over
that, the median over runs with the interval of its order statistics. Looks that a budget did not pay for are counted.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

import callbacks
from benchmarks.report import conclude, median_and_interval, words
from callbacks.metrics import Pixels, PowerSpectrum
from datamodules import ArrayDataModule, DigitsDataModule
from gan_modules import NSGAN, R3GAN, Adam
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator

#: share of training time that all diagnostics may take together
GOALS = {"quickstart": 0.10, "dcgan": 0.05}
ALL = "all"
Game = tuple[LightningModule, LightningDataModule]


@dataclass
class Stopwatch:
    """Seconds by name, of training as the rest; what is timed within a validation is no training either."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    outside: float = 0.0
    validating: bool = False

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Add the time within to ``name``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] += time.perf_counter() - began
            if not self.validating:
                self.outside += time.perf_counter() - began

    def wrap(self, callback: Callback) -> Callback:
        """Time all of the callback's hooks."""
        name = type(callback).__name__
        for hook in (name for name in dir(Callback) if name.startswith("on_")):
            if getattr(type(callback), hook) is not getattr(Callback, hook):
                setattr(callback, hook, self._timed(name, getattr(callback, hook)))
        return callback

    def _timed(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timing(name):
                return hook(*args, **kwargs)

        return timed


class Clock(Callback):
    """Seconds from the first iteration to the end of the last, and of validations; the first of the callbacks."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.total = self.validation = 0.0
        self.iterations = 0
        self.before_last = 0.0
        self._began = self._validating = 0.0

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        if not self._began:
            self._began, self.watch.outside = time.perf_counter(), 0.0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        # the last one's other hooks are not in: of thousands
        self.total, self.iterations = time.perf_counter() - self._began, trainer.global_step
        self.before_last = self.validation

    def on_validation_start(self, *args: Any) -> None:
        self._validating, self.watch.validating = time.perf_counter(), True

    def validated(self) -> None:
        """A validation is over, all callbacks' work included."""
        self.validation += time.perf_counter() - self._validating
        self.watch.validating = False

    @property
    def training(self) -> float:
        """Seconds of training alone."""
        return self.total - self.before_last - self.watch.outside


class Last(Callback):
    """Stops the clock after all other callbacks."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_validation_end(self, *args: Any) -> None:
        self.clock.validated()


def quickstart(epoch_iterations: int) -> Game:
    """configs/quickstart.yaml."""
    shape = (1, 8, 8)
    module = R3GAN(
        MLPGenerator(shape, latent_dim=64), MLPDiscriminator(shape), gamma=0.3,
        generator_optimizer=lambda p: Adam(p, lr=1.5e-3, beta1=0.0, beta2=0.9),
        discriminator_optimizer=lambda p: Adam(p, lr=1.5e-3, beta1=0.0, beta2=0.9),
    )  # fmt: skip
    return module, DigitsDataModule(batch_size=64, epoch_iterations=epoch_iterations)


def dcgan(epoch_iterations: int) -> Game:
    """A DCGAN of the benchmarked size on noise."""
    images = np.random.default_rng(0).integers(0, 256, (4096, 3, 32, 32), dtype=np.uint8)
    data = ArrayDataModule(arrays={"images": images}, batch_size=64, epoch_iterations=epoch_iterations)
    module = NSGAN(DCGANGenerator((3, 32, 32), width=32), DCGANDiscriminator((3, 32, 32), width=32))
    return module, data


CASES: dict[str, Callable[[int], Game]] = {"quickstart": quickstart, "dcgan": dcgan}


def diagnostics() -> dict[str, type[Callback]]:
    """What is measured, by name: all exported diagnostics, and what names failures by them."""
    exported = [getattr(callbacks, name) for name in callbacks.__all__]
    found = [c for c in exported if issubclass(c, callbacks.Diagnostic) and c is not callbacks.Diagnostic]
    return {c.__name__: c for c in [*found, callbacks.Diagnosis]}


def arms() -> list[str]:
    """Each alone, and all."""
    return [*(name for name in diagnostics() if name != "Diagnosis"), "PowerSpectrum", ALL]


def run(case: str, arm: str, epochs: int, epoch_iterations: int) -> dict[str, Any]:
    """Train once; seconds of training, and of each diagnostic."""
    torch.manual_seed(0)
    module, data = CASES[case](epoch_iterations)
    watch = Stopwatch()
    clock = Clock(watch)
    chosen = [watch.wrap(made()) for name, made in diagnostics().items() if arm in (name, ALL)]
    metrics: list[Callback] = []
    if arm in ("PowerSpectrum", ALL):
        metrics = [callbacks.SampleMetrics(Pixels(), cache_dir="", metrics=[timed_metric(watch)])]
    with tempfile.TemporaryDirectory() as root:
        trainer(root, epochs, [clock, *metrics, *chosen, Last(clock)]).fit(module, data)
    looks = [c for c in chosen if isinstance(c, callbacks.Diagnostic)]
    return {
        "training": clock.training,
        "iteration": clock.training / max(clock.iterations, 1),
        "shares": {name: spent / clock.training for name, spent in watch.spent.items()},
        "seconds": {type(c).__name__: c.latest.get(f"{c.prefix}/seconds") for c in looks},
        "left_out": {type(c).__name__: c.left_out for c in looks},
    }


def timed_metric(watch: Stopwatch) -> PowerSpectrum:
    """A PowerSpectrum whose work is timed."""

    class Timed(PowerSpectrum):
        def update(self, *args: Any, **kwargs: Any) -> None:
            with watch.timing("PowerSpectrum"):
                super().update(*args, **kwargs)

        def compute(self) -> Any:
            with watch.timing("PowerSpectrum"):
                return super().compute()

    return Timed()


def trainer(root: str, epochs: int, chosen: list[Callback]) -> Trainer:
    """A Trainer without logger, checkpoint or progress bar, that validates after each epoch."""
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=chosen, default_root_dir=root, num_sanity_val_steps=0,
        log_every_n_steps=100, **off,
    )  # fmt: skip


def measure(case: str, arm: str, epochs: int, epoch_iterations: int, repeats: int) -> dict[str, Any]:
    """The share of training time that the arm takes, with its 95 % interval, and what is known of its parts."""
    runs = [run(case, arm, epochs, epoch_iterations) for _ in range(repeats)]
    parts = {name: float(np.median([r["shares"].get(name, 0.0) for r in runs])) for name in runs[0]["shares"]}
    return {
        "case": case,
        "arm": arm,
        "share": median_and_interval([sum(r["shares"].values()) for r in runs]),
        "parts": parts,
        "seconds": runs[-1]["seconds"],
        "left_out": runs[-1]["left_out"],
        "iteration_ms": 1e3 * float(np.median([r["iteration"] for r in runs])),
        "looks": epochs,
    }


def main() -> int:
    """Time all arms of all cases; 1 where all together take more than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--arms", nargs="+", default=arms(), choices=arms())
    parser.add_argument("--epochs", type=int, default=10, help="as many validations")
    parser.add_argument("--epoch_iterations", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    console, load = Console(width=120), os.getloadavg()[0]
    rows = [
        measure(case, arm, args.epochs, args.epoch_iterations, args.repeats) for case in args.cases for arm in args.arms
    ]
    table = Table("case", "diagnostic", "share, %", "goal, %", "seconds a look", "looks", "iteration, ms")
    for row in rows:
        for name in [row["arm"]] if row["arm"] != ALL else [ALL, *row["parts"]]:
            share = row["share"] if name == row["arm"] else (row["parts"][name],) * 3
            second = row["seconds"].get(name)
            table.add_row(
                row["case"],
                name if name == row["arm"] else f"  {name}",
                words([100 * s for s in share]) if args.repeats > 1 else f"{100 * share[0]:.2f}",
                f"{100 * GOALS[row['case']]:g}" if name == ALL else "",
                "" if second is None else f"{second:.2f}",
                f"{row['looks'] - row['left_out'][name]} of {row['looks']}" if name in row["left_out"] else "",
                f"{row['iteration_ms']:.1f}" if name == row["arm"] else "",
            )
    console.print(table)
    settings = {name: getattr(args, name) for name in ("epochs", "epoch_iterations", "repeats")}
    conclude(console, rows, load, args.json, **settings)
    return int(any(row["arm"] == ALL and row["share"][0] > GOALS[row["case"]] for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
