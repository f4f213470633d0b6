"""Time of an iteration, ours against the best hand-written loop on the same DCGAN, in one process.

    python -m benchmarks.step [--iterations 10] [--repeats 12] [--batch_size 64] [--width 32] [--variant NSGAN]

Both arms do the same work on the same latents, which is checked first. Blocks of iterations alternate, so that a busy
machine slows both alike; the ratio is the median over pairs of blocks, with the interval of its order statistics.
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

import gan_modules
from benchmarks.plain_loop import OBJECTIVES, PlainLoop
from benchmarks.report import conclude, median_and_interval, words
from gan_modules import GANModule
from gan_modules.batch import RandomRows
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator

SHAPE = (3, 32, 32)
GOAL = 1.05


def pair(variant: str, width: int) -> tuple[GANModule, PlainLoop]:
    """Our module and the loop, from the same initial networks."""
    torch.manual_seed(0)
    generator, discriminator = DCGANGenerator(SHAPE, width=width), DCGANDiscriminator(SHAPE, width=width)
    loop = PlainLoop(copy.deepcopy(generator), copy.deepcopy(discriminator), OBJECTIVES[variant])
    module: GANModule = getattr(gan_modules, variant)(generator, discriminator)
    return module, loop


class Latents:
    """The random rows that our module draws in an iteration, for the loop."""

    def __init__(self, iteration: int, rows: int) -> None:
        self.iteration, self.rows = iteration, rows

    def __call__(self, k: int) -> RandomRows:
        return RandomRows(0, self.iteration, k, 0, self.rows, self.rows, torch.device("cpu"))


class Alternate(Callback):
    """Between blocks of our iterations, runs and times as many of the loop's on the same batch."""

    def __init__(self, loop: PlainLoop, batch: Tensor, iterations: int) -> None:
        self.loop, self.batch, self.iterations = loop, batch, iterations
        self.ours: list[float] = []
        self.loops: list[float] = []
        self._mark = 0.0

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx % self.iterations:
            return
        if batch_idx:
            self.ours.append((time.perf_counter() - self._mark) / self.iterations)
        started = time.perf_counter()
        rows = len(self.batch) // self.loop.objective.n_critic
        for i in range(batch_idx, batch_idx + self.iterations):
            self.loop.step(self.batch, Latents(i, rows))
        self.loops.append((time.perf_counter() - started) / self.iterations)
        self._mark = time.perf_counter()


def trainer(iterations: int, *callbacks: Callback) -> Trainer:
    """A Trainer without logger, checkpoint or progress bar, that logs every 50 iterations."""
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(max_steps=iterations, accelerator="cpu", log_every_n_steps=50, callbacks=list(callbacks), **off)


def batches(batch: Tensor, iterations: int) -> DataLoader[Tensor]:
    """The same batch again and again: no arm loads data."""
    return DataLoader([batch] * (iterations + 1), batch_size=None)  # type: ignore[arg-type]


def difference(variant: str, width: int, batch_size: int, iterations: int = 2) -> float:
    """Share of parameters in which the arms differ after ``iterations``: near 0 where the work is the same."""
    module, loop = pair(variant, width)
    batch = torch.rand(batch_size * module.draws, *SHAPE, generator=torch.Generator().manual_seed(0))
    trainer(iterations).fit(module, batches(batch, iterations))
    for i in range(iterations):
        loop.step(batch, Latents(i, batch_size))
    ours = torch.cat([p.detach().flatten() for player in module.players for p in player.parameters()])
    theirs = torch.cat([p.detach().flatten() for net in (loop.generator, loop.discriminator) for p in net.parameters()])
    # an Adam step has the size of the learning rate whatever the gradient: rounding flips those of vanishing gradients
    return float((ours - theirs).abs().gt(1e-4).float().mean())


def measure(variant: str, width: int, batch_size: int, iterations: int, repeats: int) -> dict[str, Any]:
    """Milliseconds an iteration of both arms, and the ratio with its 95 % interval."""
    module, loop = pair(variant, width)
    batch = torch.rand(batch_size * module.draws, *SHAPE, generator=torch.Generator().manual_seed(0))
    alternate = Alternate(loop, batch, iterations)
    total = (repeats + 2) * iterations + 1
    trainer(total, alternate).fit(module, batches(batch, total))
    ours, loops = (np.array(times[1 : repeats + 1]) * 1e3 for times in (alternate.ours, alternate.loops))  # warm
    return {
        "variant": variant,
        "ours_ms": float(np.median(ours)),
        "loop_ms": float(np.median(loops)),
        "ratio": median_and_interval(ours / loops),
    }


def main() -> int:
    """Check that the work is the same, then time it; 1 where it is not the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=10, help="of a block")
    parser.add_argument("--repeats", type=int, default=12, help="pairs of blocks")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="of the DCGAN's finest layer")
    parser.add_argument("--variant", nargs="+", default=list(OBJECTIVES), choices=list(OBJECTIVES))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    console, rows = Console(), []
    load = os.getloadavg()[0]
    for variant in args.variant:
        differs = difference(variant, args.width, args.batch_size)
        if differs > 0.01:
            console.print(
                f"{variant}: the arms do not do the same work: {100 * differs:.1f} % of the parameters differ"
            )
            return 1
        rows.append(measure(variant, args.width, args.batch_size, args.iterations, args.repeats))
    table = Table("variant", "ours, ms", "loop, ms", f"ratio (goal {GOAL})", title="one iteration")
    for row in rows:
        table.add_row(row["variant"], f"{row['ours_ms']:.1f}", f"{row['loop_ms']:.1f}", words(row["ratio"]))
    console.print(table)
    conclude(console, rows, load, args.json, width=args.width, batch_size=args.batch_size)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
