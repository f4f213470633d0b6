"""Cost of a product with the game's Jacobian, in gradients of both players, in one process.

    python -m benchmarks.jacobian [--repeats 15] [--batch_size 64] [--width 16] [--json FILE]

A gradient, J w and J^T w alternate, so that a busy machine slows all alike. The first product of a batch builds the
graph of the gradients as well; the later ones pass through it.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.report import conclude, median_and_interval, words
from gan_modules import NSGAN, R3GAN, WGANGP, GANModule
from gan_modules.dynamics import GameJacobian, times
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.protocols import by_player

GOAL = 3.0
GAMES: dict[str, tuple[type[GANModule], str]] = {
    "MLP, NSGAN": (NSGAN, "mlp"),
    "MLP, R3GAN": (R3GAN, "mlp"),
    "MLP, WGANGP": (WGANGP, "mlp"),
    "DCGAN, NSGAN": (NSGAN, "dcgan"),
    "DCGAN, R3GAN": (R3GAN, "dcgan"),
}


def build(name: str, width: int) -> tuple[GANModule, tuple[int, ...]]:
    """The game, and the shape of its samples: digits for an MLP, 32 x 32 in colour for a DCGAN."""
    cls, kind = GAMES[name]
    torch.manual_seed(0)
    if kind == "mlp":
        shape: tuple[int, ...] = (1, 8, 8)
        return cls(MLPGenerator(shape), MLPDiscriminator(shape)), shape  # type: ignore[call-arg]
    shape = (3, 32, 32)
    return cls(DCGANGenerator(shape, width=width), DCGANDiscriminator(shape, width=width)), shape  # type: ignore[call-arg]


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure(name: str, width: int, batch_size: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of a gradient of both players, and ratios to it with their 95 % intervals."""
    game, shape = build(name, width)
    batch = game.game_batch(torch.rand(batch_size, *shape, generator=torch.Generator().manual_seed(0)))
    kept = GameJacobian(game, batch)
    w = torch.randn(sum(kept.sizes), generator=torch.Generator().manual_seed(1))
    parts = by_player(w, kept.sizes)

    def gradient() -> None:
        game.gradient(1, batch, shared=True)
        game.gradient(0, batch)

    arms: dict[str, Callable[[], Any]] = {
        "J w": lambda: times(kept, w),
        "J^T w": lambda: kept.transposed(parts),
        "first J w": lambda: times(GameJacobian(game, batch), w),
        "first J^T w": lambda: GameJacobian(game, batch).transposed(parts),
    }
    for arm in (gradient, *arms.values()):
        arm()  # warm
    base, ratios = [], {arm: [] for arm in arms}  # type: ignore[var-annotated]
    for _ in range(repeats):
        for arm, run in arms.items():
            before, seconds, after = timed(gradient), timed(run), timed(gradient)
            base.append((before + after) / 2)
            ratios[arm].append(seconds / base[-1])
    row: dict[str, Any] = {"game": name, "parameters": sum(kept.sizes), "gradient_ms": 1e3 * float(np.median(base))}
    return row | {arm: median_and_interval(values) for arm, values in ratios.items()}


def main() -> int:
    """Time every game; 1 where a product costs more than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--width", type=int, default=16, help="of the DCGAN's finest layer")
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=list(GAMES))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    console, load = Console(), os.getloadavg()[0]
    rows = [measure(name, args.width, args.batch_size, args.repeats) for name in args.games]
    arms = ("J w", "J^T w", "first J w", "first J^T w")
    table = Table("game", "gradient, ms", *arms, title=f"a product, in gradients of both players (goal {GOAL:g})")
    for row in rows:
        table.add_row(row["game"], f"{row['gradient_ms']:.1f}", *(words(row[arm]) for arm in arms))
    console.print(table)
    conclude(console, rows, load, args.json, width=args.width, batch_size=args.batch_size)
    return int(any(row[arm][0] > GOAL for row in rows for arm in ("J w", "J^T w")))


if __name__ == "__main__":
    raise SystemExit(main())
