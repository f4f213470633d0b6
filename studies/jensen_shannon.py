"""At the best discriminator the value of minimax is 2 JS - 2 log 2, and the generator that descends it minimises JS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from torch import Tensor, nn

from gan_modules.losses import Minimax
from gan_modules.networks import MLPDiscriminator
from studies.critics import looked_at, train
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
#: the logarithm of a density
LogDensity = Callable[[Array], Array]
LOG2 = math.log(2)
GRID = np.linspace(-16.0, 26.0, 40_001)
#: (mean, standard deviation) of fakes, where data are N(0, 1)
GAUSSIANS = ((0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0), (0.0, 2.0))
#: JS in nats where data are N(0, 1) and fakes N(m, 1)
TABLE = {1.0: 0.1114, 4.0: 0.6327, 6.0: 0.6893, 8.0: 0.69305, 10.0: 0.69315}
POINTS, COUNT = 8, 64
MODE, SPREAD = 1.5, 0.5
START = 0.8

# --- oracles ----------------------------------------------------------------------------------------------------------


def jensen_shannon(log_p: Array, log_q: Array, weights: Array | float) -> float:
    """JS in nats, from log densities at points of those weights (1 for probabilities)."""
    log_middle = np.logaddexp(log_p, log_q) - LOG2
    halves = (np.exp(log) * (log - log_middle) for log in (log_p, log_q))
    return float((0.5 * sum(halves) * weights).sum())


def of_densities(log_p: LogDensity, log_q: LogDensity) -> float:
    return jensen_shannon(log_p(GRID), log_q(GRID), GRID[1] - GRID[0])


def value(js: float) -> float:
    """Of the minimax game at the best discriminator (Goodfellow et al., 2014, Theorem 1)."""
    return 2 * js - 2 * LOG2


def gaussian(mean: float, std: float) -> LogDensity:
    return lambda x: np.asarray(norm.logpdf(x, mean, std))


def two_modes(x: Array) -> Array:
    """Log density of the data that no scale of the one-parameter generator reaches."""
    return np.logaddexp(norm.logpdf(x, -MODE, SPREAD), norm.logpdf(x, MODE, SPREAD)) - LOG2


def nodes(n: int) -> Tensor:
    """Equally likely values at quantiles of N(0, 1): (n, 1)."""
    return torch.as_tensor(norm.ppf((np.arange(n) + 0.5) / n), dtype=torch.float32)[:, None]


def nodes_of_modes(n: int) -> Tensor:
    return torch.cat([SPREAD * nodes(n // 2) - MODE, SPREAD * nodes(n // 2) + MODE])


# --- the study --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A discriminator at its best: the value that it reaches on other points than its own, and its logits at some."""

    value: float
    x: Array
    logits: Array


@dataclass(frozen=True)
class JensenShannon(Study):
    """Small networks trained to the end on Gaussians and discrete data; a generator that scales noise.

    Attributes:
        steps: of a discriminator.
        nodes: rows of each side that stand for a Gaussian, at its quantiles.
        turns: steps of the generator.
        steps_between: of the discriminator before each of these, after ``steps`` at the start.
        tolerance: relative, of the value and of the divergence.
    """

    steps: int = 400
    nodes: int = 512
    turns: int = 40
    steps_between: int = 60
    tolerance: float = 0.01

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "steps": 2000, "nodes": 8192, "turns": 200}

    def measure(self, run: Run) -> Findings:
        rows = [
            Row(
                f"JS of N(0, 1) and N({m:g}, 1), by integration", of_densities(gaussian(0, 1), gaussian(m, 1)), js, 6e-5
            )
            for m, js in TABLE.items()
        ]
        data: dict[str, Any] = {"gaussians": {}, "discrete": []}
        for mean, std in run.track(GAUSSIANS, "Gaussians"):
            js = of_densities(gaussian(0, 1), gaussian(mean, std))
            trained = [self._gaussian(mean, std, seed) for seed in range(self.seeds)]
            data["gaussians"][mean, std] = js, trained
            name = f"N(0, 1) and N({mean:g}, {std**2:g})"
            rows += [
                Row(f"{name}: V at log p / q", self._at_the_formula(mean, std), value(js), self._allowed(js)),
                Row(f"{name}: V of trained D", [t.value for t in trained], value(js), self._allowed(js)),
            ]
        for seed in run.track(range(self.seeds), "discrete data"):
            js, measured = self._discrete(seed)
            data["discrete"].append((value(js), measured))
            rows.append(Row(f"{POINTS} points, seed {seed}: V of trained D", measured, value(js), self._allowed(js)))
        rows += self._generator(run, data)
        return Findings(rows, data)

    def _allowed(self, js: float) -> float:
        """Of the value and of 2 JS alike: the smaller is what a discriminator has to be good for."""
        return self.tolerance * min(2 * js, abs(value(js)))

    # --- Gaussians ------------------------------------------------------------------------------------------------

    def _at_the_formula(self, mean: float, std: float) -> float:
        log_p, log_q = gaussian(0, 1), gaussian(mean, std)

        class Best(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                at = x.numpy().astype(float)[:, 0]
                return torch.as_tensor(log_p(at) - log_q(at))

        return worth(Best(), nodes(50_000), mean + std * nodes(50_000))

    def _gaussian(self, mean: float, std: float, seed: int) -> Trained:
        z, fine = nodes(self.nodes), nodes(50_000)
        discriminator = self._trained(seed, z, mean + std * z)
        x = np.linspace(min(-2.5, mean - 2.5 * std), max(2.5, mean + 2.5 * std), 200)
        with torch.no_grad():
            logits = discriminator(torch.as_tensor(x, dtype=torch.float32)[:, None]).numpy()
        return Trained(worth(discriminator, fine, mean + std * fine), x, logits)

    def _trained(self, seed: int, real: Tensor, fake: Tensor) -> nn.Module:
        discriminator = network(seed, real.shape[1])
        train(Minimax(), discriminator, lambda step: (real, fake), self.steps, 1e-2)
        return discriminator

    # --- discrete data --------------------------------------------------------------------------------------------

    def _discrete(self, seed: int) -> tuple[float, float]:
        """JS and trained value of random counts on points of a circle, none of them 0: the logit is finite."""
        numbers = np.random.default_rng(seed)
        p, q = (1 + numbers.multinomial(COUNT - POINTS, numbers.dirichlet(np.ones(POINTS))) for _ in range(2))
        angles = 2 * math.pi * torch.arange(POINTS) / POINTS
        points = torch.stack([angles.cos(), angles.sin()], 1)
        js = jensen_shannon(np.log(p / COUNT), np.log(q / COUNT), 1.0)
        real, fake = (points.repeat_interleave(torch.as_tensor(counts), 0) for counts in (p, q))
        return js, worth(self._trained(seed, real, fake), real, fake)

    # --- a generator of one parameter -----------------------------------------------------------------------------

    def _generator(self, run: Run, data: dict[str, Any]) -> list[Row]:
        def js(scale: float) -> float:
            return of_densities(two_modes, gaussian(0, scale))

        best = minimize_scalar(js, bounds=(0.3, 4.0), method="bounded", options={"xatol": 1e-5})
        paths = [self._play(seed) for seed in run.track(range(self.seeds), "generator")]
        ends = [path[-1] for path in paths]
        scales = np.linspace(0.6, 3.0, 25)
        data["generator"] = scales, [value(js(s)) for s in scales], paths, float(best.x), value(best.fun)
        return [
            Row(
                "scale that the generator ends at, minimiser of JS",
                [s for s, _ in ends],
                best.x,
                self.tolerance * best.x,
            ),
            Row("V there", [v for _, v in ends], value(best.fun), self._allowed(best.fun)),
        ]

    def _play(self, seed: int) -> list[tuple[float, float]]:
        """(scale, value) before each step of the generator G(z) = scale z, and after the last."""
        real, z = nodes_of_modes(self.nodes), nodes(self.nodes)
        discriminator = network(seed, 1)
        scale = torch.tensor(START, requires_grad=True)
        optimizer = torch.optim.Adam([scale], 0.1, (0.5, 0.9))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.turns)
        path = []
        for turn in range(self.turns):
            steps = self.steps_between if turn else self.steps
            train(Minimax(), discriminator, lambda step: (real, scale.detach() * z), steps, 1e-2)
            path.append((scale.item(), worth(discriminator, real, scale.detach() * z)))
            optimizer.zero_grad()
            Minimax().generator(looked_at(Minimax(), discriminator, real, scale * z)).backward()
            optimizer.step()
            schedule.step()
        last = scale.detach() * z
        train(Minimax(), discriminator, lambda step: (real, last), self.steps, 1e-2)
        return [*path, (scale.item(), worth(discriminator, real, last))]

    # --- the figure -----------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(1, 4, width=14.0, height=3.2)
        _draw_gaussians(axes[0, 0], findings.data["gaussians"])
        _draw_logits(axes[0, 1], findings.data["gaussians"])
        _draw_discrete(axes[0, 2], findings.data["discrete"])
        _draw_generator(axes[0, 3], *findings.data["generator"])
        return figure


def network(seed: int, size: int) -> MLPDiscriminator:
    """Smooth on the line, with kinks on points of the plane."""
    torch.manual_seed(seed)
    return MLPDiscriminator((size,), width=32, depth=2, activation="softplus" if size == 1 else "leaky_relu")


@torch.no_grad()
def worth(discriminator: nn.Module, real: Tensor, fake: Tensor) -> float:
    """V = E log D(x) + E log(1 - D(G(z)))."""
    return -float(Minimax().discriminator(looked_at(Minimax(), discriminator, real, fake)))


def _draw_gaussians(ax: Any, found: dict[tuple[float, float], tuple[float, list[Trained]]]) -> None:
    shift = np.linspace(0.0, 6.0, 61)
    ax.plot(shift, [value(of_densities(gaussian(0, 1), gaussian(m, 1))) for m in shift], color="0.2")
    shifted = [(mean, t.value) for (mean, std), (_, trained) in found.items() if std == 1 for t in trained]
    ax.plot(*zip(*shifted, strict=True), "o", color=COLOURS[1], markersize=4)
    for level, word in ((0.0, "0: told apart"), (-2 * LOG2, "-2 log 2: alike")):
        ax.axhline(level, color="0.7", linewidth=0.8, linestyle=":")
        ax.text(6.0, level + 0.02, word, ha="right", va="bottom", fontsize=8, color="0.4")
    ax.set(
        xlabel="shift m",
        ylabel="V",
        ylim=(-1.5, 0.15),
        title="N(0, 1) and N(m, 1): V of trained D\n(dots), 2 JS - 2 log 2 (line)",
    )


def _draw_logits(ax: Any, found: dict[tuple[float, float], tuple[float, list[Trained]]]) -> None:
    for colour, (mean, std) in zip(COLOURS, GAUSSIANS, strict=False):
        for trained in found[mean, std][1]:
            ax.plot(trained.x, trained.logits, color=colour, linewidth=2.5, alpha=0.25)
        x = found[mean, std][1][0].x
        ax.plot(x, gaussian(0, 1)(x) - gaussian(mean, std)(x), color=colour, linestyle="--", linewidth=1,
                label=f"N({mean:g}, {std**2:g})")  # fmt: skip
    ax.set(xlabel="x", ylabel="logit", ylim=(-9, 13), title="trained logits (bands, all seeds)\nand log p / q (dashed)")
    ax.legend(fontsize=7, title="fakes", title_fontsize=7)


def _draw_discrete(ax: Any, found: list[tuple[float, float]]) -> None:
    expected, measured = zip(*found, strict=True)
    ends = min(expected) - 0.05, max(expected) + 0.05
    ax.plot(ends, ends, color="0.6", linewidth=0.8)
    ax.plot(expected, measured, "o", color=COLOURS[1], markersize=5)
    ax.set(
        xlabel="2 JS - 2 log 2", ylabel="V of trained D", title=f"random probabilities\non {POINTS} points, one a seed"
    )


def _draw_generator(
    ax: Any, scales: Array, values: list[float], paths: list[list[tuple[float, float]]], best: float, lowest: float
) -> None:
    ax.plot(scales, values, color="0.2", label="2 JS - 2 log 2")
    for k, path in enumerate(paths):
        ax.plot(*zip(*path, strict=True), ".-", color=COLOURS[0], linewidth=0.6, markersize=3, alpha=0.6,
                label=None if k else "play, a seed each")  # fmt: skip
    ax.plot(best, lowest, "*", color=COLOURS[4], markersize=12, label="minimiser", zorder=3)
    ax.set(xlabel="scale s of G(z) = s z", ylabel="V", title="data of two modes,\na generator that only scales")
    ax.legend(fontsize=7)
