"""Time of an iteration of each update rule, against two plain gradient steps on the same game, in one process.

    python -m benchmarks.rules [--games toy mlp dcgan] [--iterations 5] [--repeats 12]

The reference is a loop without rule or handle: both players' losses, their gradients, two optimizer steps. Blocks of
iterations alternate, so that a busy machine slows both alike; the ratio is the median over pairs of blocks, with the
interval of its order statistics.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.report import conclude, median_and_interval, words
from gan_modules import R3GAN, BilinearGame, GameModule
from gan_modules.batch import GameBatch
from gan_modules.dynamics import Play
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.rules import (
    Alternating,
    CompetitiveGradient,
    Consensus,
    Extragradient,
    Lookahead,
    NegativeMomentum,
    Optimistic,
    RungeKutta,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
    UpdateRule,
)

LR = 1e-5
RULES: tuple[UpdateRule, ...] = (
    Simultaneous(), Alternating(), Extragradient(), Optimistic(), Lookahead(), NegativeMomentum(), RungeKutta(2),
    RungeKutta(4), Consensus(), SymplecticAdjustment(), CompetitiveGradient(), Unrolled(5),
)  # fmt: skip


def toy() -> tuple[GameModule, GameBatch]:
    """The bilinear game of size 10."""
    game = BilinearGame(torch.randn(10, 10, generator=torch.Generator().manual_seed(0)))
    return game, game.batch()


def mlp() -> tuple[GameModule, GameBatch]:
    """R3GAN on digits: 3 hidden layers of 256, batch 64."""
    shape = (1, 8, 8)
    return _gan(MLPGenerator(shape), MLPDiscriminator(shape), shape, 64)


def dcgan() -> tuple[GameModule, GameBatch]:
    """R3GAN between DCGANs on 3 x 32 x 32, width 16, batch 32."""
    shape = (3, 32, 32)
    return _gan(DCGANGenerator(shape, width=16), DCGANDiscriminator(shape, width=16), shape, 32)


def _gan(generator: Any, discriminator: Any, shape: tuple[int, ...], rows: int) -> tuple[GameModule, GameBatch]:
    game = R3GAN(generator, discriminator)
    return game, game.game_batch(torch.rand(rows, *shape, generator=torch.Generator().manual_seed(0)), draw=0)


GAMES: dict[str, Callable[[], tuple[GameModule, GameBatch]]] = {"toy": toy, "mlp": mlp, "dcgan": dcgan}


def plain_step(game: GameModule, batch: GameBatch, optimizers: list[torch.optim.Optimizer]) -> None:
    """Both gradients at the same point and two steps of gradient descent."""
    for player, network in enumerate(game.players):
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(game.player_loss(player, batch), parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
    for optimizer in optimizers:
        optimizer.step()


def measure(name: str, rule: UpdateRule, iterations: int, repeats: int) -> dict[str, Any]:
    """Milliseconds an iteration of the rule and of the reference, and the ratio with its 95 % interval."""
    torch.manual_seed(0)
    game, batch = GAMES[name]()
    play = Play(game, rule, LR, lambda k: batch)
    reference = copy.deepcopy(game)
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(p.parameters(), lr=LR) for p in reference.players]

    def block(step: Callable[[], None]) -> float:
        started = time.perf_counter()
        for _ in range(iterations):
            step()
        return (time.perf_counter() - started) / iterations * 1e3

    pairs = [(block(play.step), block(lambda: plain_step(reference, batch, optimizers))) for _ in range(repeats + 1)]
    ours, plain = np.array(pairs[1:]).T  # the first pair warms up
    return {
        "game": name,
        "rule": str(rule),
        "ms": float(np.median(ours)),
        "plain_ms": float(np.median(plain)),
        "ratio": median_and_interval(ours / plain),
        "cost": str(rule.cost),
    }


def main() -> int:
    """Time every rule on every game."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=list(GAMES))
    parser.add_argument("--iterations", type=int, default=5, help="of a block")
    parser.add_argument("--repeats", type=int, default=12, help="pairs of blocks")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    rows = [
        measure(name, rule, args.iterations, args.repeats)
        for name in args.games
        for rule in track(RULES, description=name)
    ]
    table = Table("rule", *(f"{name}: ms, x two plain steps" for name in args.games), title="one iteration")
    for rule in RULES:
        found = {row["game"]: row for row in rows if row["rule"] == str(rule)}
        table.add_row(str(rule), *(f"{found[n]['ms']:.3g}, {words(found[n]['ratio'])}" for n in args.games))
    console = Console(width=160)
    console.print(table)
    conclude(console, rows, load, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
