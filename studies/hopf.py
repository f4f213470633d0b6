"""Past the predicted learning rate a stable equilibrium becomes a cycle; its radius grows as the root of the excess."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import brentq
from torch import Tensor

from gan_modules import DiracGAN, HopfGame
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.dynamics import Play, Stability, stability
from gan_modules.losses import Minimax, NonSaturating, Wasserstein
from gan_modules.penalties import R1, Penalty
from gan_modules.rules import Simultaneous
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
Game = DiracGAN | HopfGame
#: so small that the game is linear
SMALL = 1e-6
#: a radius from which no model comes back
FAR = 3.0


@dataclass(frozen=True)
class QuarticPenalty(Penalty):
    """kappa psi^4 / 4: what bounds the cycle of a Wasserstein loss, which has no curvature of its own."""

    kappa: float = 1.0

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        psi: Any = d.discriminator.psi
        total: Tensor = (psi**4).sum()
        return self.kappa / 4 * total


@dataclass(frozen=True)
class Model:
    """A game of two numbers under simultaneous steps, and its bifurcation as predicted.

    Attributes:
        name: of the game.
        make: the game with its players at two numbers.
        limit: learning rate h* at which the cycle sets in, in closed form.
        square: mean square radius of the cycle at h, by the first Lyapunov coefficient (HopfGame: exactly).
    """

    name: str
    make: Callable[[float, float], Game]
    limit: float
    square: Callable[[float], float]

    def radius(self, h: float) -> float:
        return math.sqrt(max(0.0, self.square(h)))

    def play(self, h: float, start: Sequence[float], iterations: int) -> Array:
        """The trajectory, until it is far."""
        game = self.make(*start)
        path = []
        for position in Play(game, Simultaneous(), h, lambda k: game.batch()).trajectory(iterations):
            path.append(position.numpy())
            if not math.hypot(*path[-1]) < FAR:
                break
        return np.array(path)

    def growth(self, h: float) -> float:
        """Of small displacements, an iteration: log of the modulus, from one played from each axis."""
        ends = [self.play(h, start, 1)[-1] for start in ((SMALL, 0.0), (0.0, SMALL))]
        return math.log(np.abs(np.linalg.eigvals(np.stack(ends, 1) / SMALL)).max())

    def settled(self, h: float, start: Sequence[float], window: int) -> Array:
        """The end of a run that is long enough to reach the cycle, or the equilibrium."""
        return self.play(h, start, int(3 / max(abs(self.growth(h)), 1e-6)) + window)[-window:]

    def judged(self) -> tuple[Stability, float]:
        """What ``stability`` says at half of the limit, and the limit that follows."""
        game = self.make(0.0, 0.0)
        found = stability(game, game.batch(), Simultaneous(), self.limit / 2)
        return found, (found.limit or math.nan) * self.limit / 2


def hopf_normal_form(a: float = 0.3, w: float = 1.0, c: float = 1.0) -> Model:
    game = HopfGame(a, w, c)
    return Model(
        f"Hopf normal form, a = {a}",
        lambda x, y: HopfGame(a, w, c, start=(x, y)),
        2 * a / (a**2 + w**2),
        lambda h: game.cycle_radius(h) ** 2,
    )


def saturating(gamma: float = 0.3) -> Model:
    return Model(
        f"saturating + R1, gamma = {gamma}",
        lambda theta, psi: DiracGAN(Minimax(), [R1(gamma)], theta=theta, psi=psi),
        4 * gamma,
        lambda h: (h - 4 * gamma) / (3 * gamma**2),
    )


def non_saturating(gamma: float = 0.3) -> Model:
    return Model(
        f"non-saturating + R1, gamma = {gamma}",
        lambda theta, psi: DiracGAN(NonSaturating(), [R1(gamma)], theta=theta, psi=psi),
        4 * gamma,
        lambda h: 2 * (h - 4 * gamma) / (1 - 2 * gamma**2),
    )


def wasserstein(gamma: float = 0.4, kappa: float = 1.0) -> Model:
    return Model(
        f"WGAN + R1, gamma = {gamma}, + psi^4 / 4",
        lambda theta, psi: DiracGAN(Wasserstein(), [R1(gamma), QuarticPenalty(kappa)], theta=theta, psi=psi),
        gamma,
        lambda h: 4 * (h - gamma) / (3 * kappa),
    )


MODELS: dict[str, Callable[[], Model]] = {
    "normal form": hopf_normal_form,
    "saturating": saturating,
    "non-saturating": non_saturating,
    "Wasserstein": wasserstein,
}


@dataclass(frozen=True)
class Hopf(Study):
    """Limits, radii and periods of supercritical models; the threshold of a subcritical one.

    Attributes:
        near: (h - h*) / h* at which radius and period are judged over seeds, by predictions of first order.
        excesses: those of the diagram, the last ones for the picture only.
        fitted: how many of them the exponent is fitted on.
        window: iterations that a radius is averaged over.
        models: which of MODELS.
        subcritical: measure that case as well.
    """

    near: float = 0.01
    excesses: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15)
    fitted: int = 4
    window: int = 500
    models: tuple[str, ...] = tuple(MODELS)
    subcritical: bool = True

    FULL: ClassVar[dict[str, Any]] = {
        "seeds": 20,
        "excesses": (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.15),
        "fitted": 6,
        "window": 3000,
    }

    def measure(self, run: Run) -> Findings:
        rows: list[Row] = []
        data: dict[Any, Any] = {}
        for name in run.track(self.models, "models"):
            model = MODELS[name]()
            rows += self._limit(model) + self._cycle(model)
            radii = [rms(model.settled(h, self._start(model, h, 0), self.window)) for h in self._rates(model)]
            data[model] = np.array(radii)
            above = slice(0, self.fitted)
            slope = np.polyfit(np.log(self.excesses[above]), np.log(radii[-len(self.excesses) :][above]), 1)[0]
            rows.append(Row(f"{model.name}: exponent of the radius", float(slope), 0.5, 0.02))
        if self.subcritical:
            more, data["subcritical"] = self._subcritical(run)
            rows += more
        return Findings(rows, data)

    def _rates(self, model: Model) -> list[float]:
        return [model.limit * (1 + excess) for excess in (-0.1, -0.05, -0.02, *self.excesses)]

    def _start(self, model: Model, h: float, seed: int) -> tuple[float, float]:
        """At a random angle, within 30 % of the predicted radius; of that at 4 % past h* where there is none."""
        draw = np.random.default_rng(seed)
        angle, factor = draw.uniform(0, 2 * math.pi), draw.uniform(0.7, 1.3)
        r = factor * (model.radius(h) or model.radius(1.04 * model.limit))
        return r * math.cos(angle), r * math.sin(angle)

    def _limit(self, model: Model) -> list[Row]:
        measured = float(brentq(model.growth, 0.5 * model.limit, 1.5 * model.limit))
        found, predicted = model.judged()
        return [
            Row(f"{model.name}: h* by growth", measured, predicted, 1e-5 * predicted),
            Row(f"{model.name}: h* by stability()", predicted, model.limit, 1e-9),
            Row(f"{model.name}: kind", str(found.kind), "Neimark-Sacker"),
        ]

    def _cycle(self, model: Model) -> list[Row]:
        h = (1 + self.near) * model.limit
        paths = [model.settled(h, self._start(model, h, seed), self.window) for seed in range(self.seeds)]
        r, period = model.radius(h), model.judged()[0].period
        return [
            Row(f"{model.name}: radius at {1 + self.near:.3g} h*", [rms(path) for path in paths], r, 2 * self.near * r),
            Row(f"{model.name}: period, iterations", [turn(path) for path in paths], period, 2 * self.near * period),
        ]

    def _subcritical(self, run: Run) -> tuple[list[Row], dict[str, list[tuple[float, float]]]]:
        """Below h* a small cycle that repels, and a large one that attracts, to which training jumps past h*."""
        model, control = non_saturating(0.85), non_saturating(0.3)
        shares = (0.994, 0.996, 0.998)
        thresholds = [threshold(model, share * model.limit) for share in run.track(shares, "thresholds")]
        jumps = {}
        for m in (model, control):
            small = (0.1 * math.cos(1.0), 0.1 * math.sin(1.0))
            jumps[m] = rms(m.settled(1.002 * m.limit, small, self.window))
        outer = [
            (share, rms(model.play(share * model.limit, (0.35, 0.0), 1000)[-200:]))
            for share in run.track((0.99, 0.995, 1.0, 1.005, 1.01, 1.015), "outer cycle")
        ]
        predicted = model.radius(0.998 * model.limit)
        rows = [
            Row(f"{model.name}: repelling radius at 0.998 h*", thresholds[-1], predicted, 0.05 * predicted),
            Row(f"{model.name}: radius at 1.002 h*", jumps[model], 0.5, relation=">="),
            Row(f"{control.name}: radius at 1.002 h*", jumps[control], control.radius(1.002 * control.limit), 0.01),
            *(Row(f"{model.name}: from theta = {r0} at 0.97 h*", fate(model, r0), word)
              for r0, word in ((0.5, "returns"), (0.7, "escapes"))),
        ]  # fmt: skip
        return rows, {"repelling": list(zip(shares, thresholds, strict=True)), "attracting": outer}

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(2, 3, width=11, height=3.1)
        models = [model for model in findings.data if isinstance(model, Model)]
        log = axes[1, 1]
        for i, (ax, model) in enumerate(zip(axes.flat, models, strict=False)):
            rates, radii = np.array(self._rates(model)), findings.data[model]
            _draw_diagram(ax, model, rates / model.limit, radii)
            past = rates > model.limit
            log.loglog(
                rates[past] / model.limit - 1, radii[past], "osD^"[i], color=COLOURS[i], markersize=4, label=model.name
            )
            fine = np.geomspace(min(self.excesses), max(self.excesses), 50)
            log.loglog(fine, [model.radius(model.limit * (1 + x)) for x in fine], color=COLOURS[i], linewidth=1)
        log.set(title="measured (marks), predicted (lines): slope 1/2", xlabel="(h - h*) / h*", ylabel="rms radius")
        if models:
            log.legend(fontsize=6.5, loc="lower right")
        if "subcritical" in findings.data:
            _draw_threshold(axes[1, 2], non_saturating(0.85), findings.data["subcritical"])
        return figure


def rms(path: Array) -> float:
    return float(np.sqrt((path**2).sum(1).mean()))


def turn(path: Array) -> float:
    """Iterations of a turn, on average."""
    angle = np.unwrap(np.arctan2(path[:, 1], path[:, 0]))
    return float(2 * math.pi * (len(angle) - 1) / abs(angle[-1] - angle[0]))


def fate(model: Model, theta: float) -> str:
    """What becomes of a start on the theta axis at 0.97 h*."""
    radii = np.linalg.norm(model.play(0.97 * model.limit, (theta, 0.0), 400), axis=1)
    return "escapes" if not radii[-1] < FAR else "returns" if radii[-20:].max() < 0.1 * theta else "stays"


def threshold(model: Model, h: float) -> float:
    """Rms radius of the repelling cycle at h: starts within it return, others leave; within 2 %."""
    jacobian = model.make(0.0, 0.0).closed_form_jacobian().matrix.numpy()
    values, vectors = np.linalg.eig(jacobian)
    q = vectors[:, np.argmax(values.imag)] / math.sqrt(2)  # on the ellipse 2 r Re(q exp(i phase)) the rms radius is r
    low, high = 0.7 * model.radius(h), 1.4 * model.radius(h)
    inverse = np.linalg.inv(np.stack([q, q.conj()], 1))
    while high > 1.02 * low:
        r = math.sqrt(low * high)
        position, size = 2 * r * q.real, r
        for _ in range(100):
            if not 0.8 * r < size < 1.2 * r:
                break
            path = model.play(h, position.tolist(), 50)
            position = path[-1]
            size = float(np.abs(path @ inverse[0]).mean())
        low, high = (r, high) if size < r else (low, r)
    return math.sqrt(low * high)


def _draw_diagram(ax: Any, model: Model, ratio: Array, radii: Array) -> None:
    fine = np.linspace(0.88, ratio.max(), 400)
    ax.plot(fine, [model.radius(model.limit * x) for x in fine], color=COLOURS[6], label="predicted radius")
    ax.axvline(1, color=COLOURS[1], linestyle="--", linewidth=1, label=f"predicted h* = {model.limit:.4g}")
    ax.plot(ratio, radii, "o", color=COLOURS[0], markersize=5, label="measured")
    ax.set(title=model.name, xlabel="h / h*", ylabel="rms radius")
    ax.legend(fontsize=7.5, loc="lower right")


def _draw_threshold(ax: Any, model: Model, cycles: dict[str, list[tuple[float, float]]]) -> None:
    fine = np.linspace(0.985, 1, 200)
    ax.plot(fine, [model.radius(model.limit * x) for x in fine], color=COLOURS[6], label="repelling, predicted")
    for (name, points), marker, colour in zip(cycles.items(), "so", (COLOURS[4], COLOURS[0]), strict=True):
        ax.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=f"{name}, measured")
    ax.axvline(1, color=COLOURS[1], linestyle="--", linewidth=1)
    ax.set(title="subcritical: non-saturating, gamma = 0.85", xlabel="h / h*", ylabel="rms radius", ylim=(0, 1.5))
    ax.legend(fontsize=7.5, loc="upper left", handlelength=1.2)
