"""Which methods converge on the Dirac-GAN, simultaneous and alternating: rates, limits and cycles as predicted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gan_modules import DiracGAN, rules
from gan_modules.dynamics import Play
from gan_modules.losses import AdversarialLoss, Minimax, NonSaturating, Wasserstein
from gan_modules.penalties import R1, R2, GradientPenalty, WeightClipping
from gan_modules.rules import UpdateRule
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
Point = Sequence[float]
ORDERS: dict[str, UpdateRule] = {
    "simultaneous": rules.Simultaneous(),
    "alternating": rules.Alternating(first="generator"),
}
OUTCOMES = {"converges": COLOURS[0], "cycles": COLOURS[6], "diverges": COLOURS[1]}
#: so small that the game is linear
SMALL = 1e-7


@dataclass(frozen=True)
class Method:
    """A way to train the Dirac-GAN, and what becomes of it.

    Near the equilibrium theta' = f psi and psi' = -f theta - gamma psi, with exponents l^2 + gamma l + f^2 = 0
    (Mescheder, Geiger and Nowozin, 2018, section 4).

    Attributes:
        name: of the method.
        loss: of both players.
        options: further arguments of DiracGAN.
        gamma: total damping; None where the field is not smooth at the equilibrium.
        outcome: of a run from a distance, by the order of the players' moves.
        consensus: weight of the squared field, which adds it to both players' damping in units of f^2.
    """

    name: str
    loss: AdversarialLoss
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    gamma: float | None = 0.0
    outcome: tuple[str, str] = ("converges", "converges")
    consensus: float = 0.0

    @property
    def f(self) -> float:
        return 1.0 if self.loss == Wasserstein() else 0.5

    def rule(self, order: str) -> UpdateRule:
        return rules.Consensus(gamma=self.consensus) if self.consensus else ORDERS[order]

    @property
    def orders(self) -> list[str]:
        """The library's consensus optimization moves both players at once."""
        return list(ORDERS)[: 1 if self.consensus else 2]

    def play(self, order: str, h: float, start: Point, iterations: int) -> Array:
        """The trajectory of (theta, psi)."""
        game = DiracGAN(self.loss, theta=start[0], psi=start[1], **self.options)
        return torch.stack(list(Play(game, self.rule(order), h, game.batch).trajectory(iterations))).numpy()

    # --- predictions --------------------------------------------------------------------------------------------

    def map(self, order: str, h: float) -> Array:
        """One iteration near the equilibrium, in closed form."""
        assert self.gamma is not None
        own = self.consensus * self.f**2
        generator = np.array([[1 - h * own, h * self.f], [0, 1]])
        discriminator = np.array([[1, 0], [-h * self.f, 1 - h * (self.gamma + own)]])
        return discriminator @ generator if order == "alternating" else generator + discriminator - np.eye(2)

    def limit(self, order: str) -> float:
        """Largest learning rate at which it stays bounded, in closed form."""
        assert self.gamma is not None
        f2, gamma = self.f**2, self.gamma
        if order == "alternating":
            return (-gamma + math.sqrt(gamma**2 + 4 * f2)) / f2
        if self.consensus:
            return 2 * self.consensus / (1 + self.consensus**2 * f2)
        if gamma < 2 * self.f:
            return gamma / f2
        return 2 / (gamma / 2 + math.sqrt(gamma**2 / 4 - f2))  # a flip


METHODS = (
    Method("saturating", Minimax(), outcome=("diverges", "cycles")),
    Method("non-saturating", NonSaturating(), outcome=("cycles", "converges")),
    Method("WGAN", Wasserstein(), outcome=("diverges", "cycles")),
    Method("WGAN, clipped", Wasserstein(), {"constraint": WeightClipping(0.3)}, outcome=("cycles", "cycles")),
    Method("WGAN-GP", Wasserstein(), {"penalties": [GradientPenalty(0.5, 0.3)]}, None, ("cycles", "cycles")),
    Method("R1, gamma 0.3", Minimax(), {"penalties": [R1(0.3)]}, 0.3),
    Method("R1, gamma 2", Minimax(), {"penalties": [R1(2.0)]}, 2.0),
    Method("R1 and R2, 0.15 each", Minimax(), {"penalties": [R1(0.15), R2(0.15)]}, 0.3),
    Method("instance noise 0.77", Minimax(), {"instance_noise": math.sqrt(0.6)}, 0.3),
    Method("consensus 0.3", Minimax(), consensus=0.3),
)


@dataclass(frozen=True)
class DiracGANs(Study):
    """Every method from seeded starts, and near the equilibrium.

    Attributes:
        h: learning rate of the runs from a distance.
        iterations: of these.
        radius: where they start, at a random angle.
        cycles: measure the cycles' size as well.
        methods: which of METHODS.
    """

    h: float = 0.2
    iterations: int = 600
    radius: float = 0.6
    cycles: bool = True
    methods: tuple[str, ...] = tuple(method.name for method in METHODS)

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "iterations": 3000}

    def measure(self, run: Run) -> Findings:
        rows: list[Row] = []
        orbits = {}
        angles = np.random.default_rng(0).uniform(0, 2 * math.pi, self.seeds)
        starts = self.radius * np.stack([np.cos(angles), np.sin(angles)], 1)
        chosen = [method for method in METHODS if method.name in self.methods]
        for method in run.track(chosen, "methods"):
            for order, expected in zip(method.orders, method.outcome, strict=False):
                paths = [method.play(order, self.h, start, self.iterations) for start in starts.tolist()]
                orbits[method, order] = paths[0]
                rows.append(Row(f"{method.name}, {order}", [outcome(path) for path in paths], expected))
                if method.gamma is not None:
                    rows += self._near(method, order)
        if self.cycles:
            rows += [row for measured in run.track(CYCLES, "cycles") for row in measured()]
        return Findings(rows, orbits)

    def _near(self, method: Method, order: str) -> list[Row]:
        """Rates and limit near the equilibrium."""
        found = linear_map(method, order, self.h)
        expected = method.map(order, self.h)
        name = f"{method.name}, {order}"
        rows = [Row(f"{name}: growth at h = {self.h}", radius(found), radius(expected), 1e-6)]
        if order == "simultaneous":
            measured, value = (exponent(m, self.h) for m in (found, expected))
            rows += [
                Row(f"{name}: eigenvalue of J, real part", measured.real, value.real, 1e-5),
                Row(f"{name}: imaginary part", measured.imag, value.imag, 1e-5),
            ]
        h = method.limit(order)
        if h:
            limit = bisect(lambda x: radius(linear_map(method, order, x)) < 1 + 1e-6, 0.5 * h, 1.5 * h)
            rows.append(Row(f"{name}: largest stable h", limit, h, 1e-4 * h))
        return rows

    def figure(self, findings: Findings) -> Figure:
        methods = list(dict.fromkeys(method for method, _ in findings.data))
        rows = {row.name: row for row in findings.rows}
        columns = -(-len(methods) // 2)
        figure, axes = panels(4, columns, width=max(6.0, 2.2 * columns), height=2.2, sharex=True, sharey=True)
        for ax in axes.flat:
            ax.set_axis_off()
        for (method, order), path in findings.data.items():
            i = methods.index(method)
            row, column = 2 * (i // columns) + list(ORDERS).index(order), i % columns
            ax = axes[row, column]
            ax.set_axis_on()
            _draw(ax, method, order, path, self.h)
            limit = rows.get(f"{method.name}, {order}: largest stable h")
            if limit is not None:
                ax.text(0.5, 0.02, f"h* {limit.measured:.4g}, predicted {limit.expected:.4g}",
                        transform=ax.transAxes, ha="center", fontsize=8)  # fmt: skip
            if order == "simultaneous":
                ax.set_title(method.name, fontweight="bold")
            if column == 0:
                ax.set_ylabel(f"{order}\npsi")
            if row == 3:
                ax.set_xlabel("theta")
        dashed = Line2D([], [], color=COLOURS[4], linestyle="--")
        figure.legend([dashed], [f"predicted cycle, at h = {self.h} (clipping and WGAN-GP: as h goes to 0)"],
                      loc="outside lower center")  # fmt: skip
        return figure


# --- measuring ----------------------------------------------------------------------------------------------------


def outcome(path: Array) -> str:
    """By the largest radius in the last third of a run over that in the middle third."""
    _, middle, last = (part.max() for part in np.array_split(np.linalg.norm(path, axis=1), 3))
    ratio = last / middle
    return "diverges" if not ratio <= 1.02 else "converges" if ratio < 0.98 else "cycles"


def linear_map(method: Method, order: str, h: float) -> Array:
    """What one iteration does to small displacements, played from both axes."""
    ends = [method.play(order, h, start, 1)[-1] for start in ((SMALL, 0.0), (0.0, SMALL))]
    return np.stack(ends, 1) / SMALL


def radius(matrix: Array) -> float:
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def exponent(matrix: Array, h: float) -> complex:
    """The rightmost eigenvalue of the field, above the real axis if any is, from one simultaneous step."""
    return complex(max((np.linalg.eigvals(matrix) - 1) / h, key=lambda x: (round(x.real, 9), x.imag)))


def bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Where ``holds`` stops holding; NaN where it does not change between low and high."""
    if not holds(low) or holds(high):
        return math.nan
    while high - low > 1e-6 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


# --- cycles -------------------------------------------------------------------------------------------------------


def named(name: str) -> Method:
    return next(method for method in METHODS if method.name == name)


def non_saturating() -> list[Row]:
    """Simultaneous: rms radius sqrt(2 h) to first order. Alternating: 1 / r^2 grows by 1/8 a unit of time k h."""
    method = named("non-saturating")
    rows = []
    for h in (0.1, 0.2, 0.5):
        path = method.play("simultaneous", h, (1.02 * math.sqrt(2 * h), 0.0), int(200 / h))[int(100 / h) :]
        rms = float(np.sqrt((path**2).sum(1).mean()))
        rows.append(
            Row(f"non-saturating, simultaneous, h = {h}: rms radius", rms, math.sqrt(2 * h), 0.01 * math.sqrt(2 * h))
        )
    h = 0.2
    path = method.play("alternating", h, (1.0, 0.0), int(200 / h))
    slope = np.polyfit(h * np.arange(len(path)), 1 / (path**2).sum(1), 1)[0]
    return [*rows, Row("non-saturating, alternating: slope of 1 / r^2", float(slope), 1 / 8, 0.02 / 8)]


def clipped() -> list[Row]:
    """Simultaneous: outward until psi meets the box; max |theta| exceeds c by O(h). Alternating: orbits inside it."""
    method, c = named("WGAN, clipped"), 0.3
    rows = []
    for h in (0.1, 0.01):
        path = method.play("simultaneous", h, (1.5 * c, 0.0), int(40 / h))[int(25 / h) :]
        rows.append(Row(f"clipped, simultaneous, h = {h}: max |theta|", float(np.abs(path[:, 0]).max()), c, c * h))
    for r, where in ((0.2, "inside"), (0.5, "outside")):
        path = method.play("alternating", 0.1, (r, 0.0), 600)[300:]
        rows.append(
            Row(
                f"clipped, alternating, from {where}: max |theta|", float(np.abs(path[:, 0]).max()), min(r, c), 0.01 * c
            )
        )
    return rows


def gradient_penalty() -> list[Row]:
    """Of the flow: max |theta| = gamma g coth(gamma pi / (4 w)), w = sqrt(1 - gamma^2 / 4), near it alternating."""
    rows = []
    for gamma, g in ((1.0, 0.3), (0.5, 0.5)):
        method = Method("WGAN-GP", Wasserstein(), {"penalties": [GradientPenalty(gamma / 2, g)]}, None)
        amplitude = gamma * g / math.tanh(gamma * math.pi / (4 * math.sqrt(1 - gamma**2 / 4)))
        h, time = 0.02, 20 / gamma
        path = method.play("alternating", h, (0.7 * amplitude, 0.0), int((time + 7) / h))[int(time / h) :]
        rows.append(
            Row(
                f"WGAN-GP, gamma {gamma}, target {g}: max |theta|",
                float(np.abs(path[:, 0]).max()),
                amplitude,
                0.006 * amplitude,
            )
        )
    return rows


CYCLES = (non_saturating, clipped, gradient_penalty)


def _draw(ax: Any, method: Method, order: str, path: Array, h: float) -> None:
    word = outcome(path)
    reach = 1.1
    shown = path[: 1 + int(np.argmax(np.abs(path).max(1) > reach))] if np.abs(path).max() > reach else path
    ax.plot(*shown.T, color=OUTCOMES[word], linewidth=0.7)
    ax.plot(*path[0], "o", color=OUTCOMES[word], markersize=4)
    ax.plot(0, 0, "+", color="0.4")
    dashed = {"color": COLOURS[4], "linestyle": "--", "linewidth": 1.5}
    angle = np.linspace(0, 2 * math.pi, 200)
    if (method.name, order) == ("non-saturating", "simultaneous"):
        ax.plot(math.sqrt(2 * h) * np.cos(angle), math.sqrt(2 * h) * np.sin(angle), **dashed)
    if method.name == "WGAN, clipped":
        ax.plot(0.3 * np.cos(angle), 0.3 * np.sin(angle), **dashed)
    if method.name == "WGAN-GP":
        amplitude = 0.3 / math.tanh(math.pi / (4 * math.sqrt(0.75)))
        for side in (-amplitude, amplitude):
            ax.axvline(side, **dashed)
    ax.text(0.5, 0.98, word, transform=ax.transAxes, ha="center", va="top", color=OUTCOMES[word], fontweight="bold")
    ax.set(
        xlim=(-1.2 * reach, 1.2 * reach),
        ylim=(-1.2 * reach, 1.25 * reach),
        aspect="equal",
        xticks=(-1, 0, 1),
        yticks=(-1, 0, 1),
    )
