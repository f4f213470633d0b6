"""Each class of functions is a ruler of its own: learned distances equal closed forms, and some saturate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.integrate import cumulative_trapezoid
from scipy.stats import norm
from torch import Tensor, nn

from gan_modules.losses import (
    Bounded,
    FisherBall,
    FunctionClass,
    GaussianKernel,
    Kernel,
    KernelBall,
    Lipschitz,
    MeanFeatures,
    RationalQuadraticKernel,
    SobolevBall,
)
from gan_modules.losses.mean_square_ball import MeanSquareBall
from gan_modules.networks import MLPDiscriminator
from gan_modules.penalties import GradientPenalty, Orthonormal, SpectralNorm, WeightClipping
from studies.critics import looked_at, train
from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
Function = Callable[[Array], Array]
RHO = 0.01  # at which the multiplier settles within a thousand steps
CLIP = 0.1
FEATURES = 4

# --- closed forms for data N(0, 1) and fakes N(m, 1) ------------------------------------------------------------------


def grid(m: float) -> Array:
    return np.linspace(-9.0, 9.0 + m, 4001)


def integral(values: Array, x: Array) -> float:
    return float(np.trapezoid(values, x))


def densities(m: float, x: Array) -> tuple[Array, Array]:
    return norm.pdf(x), norm.pdf(x, m)


def below(m: float, x: Array) -> Array:
    """F_p - F_q of the distribution functions, without cancellation in either tail."""
    return np.where(x < m / 2, norm.cdf(x) - norm.cdf(x, m), norm.sf(x, m) - norm.sf(x))


def total_variation(m: float) -> float:
    return 2 * float(norm.cdf(m / 2)) - 1


def fisher(m: float) -> float:
    x = grid(m)
    p, q = densities(m, x)
    return math.sqrt(integral((p - q) ** 2 / ((p + q) / 2), x))


def sobolev(m: float) -> float:
    x = grid(m)
    return math.sqrt(integral(below(m, x) ** 2 / (sum(densities(m, x)) / 2), x))


def penalised(weight: float, m: float) -> float:
    """What a gradient penalty makes of W1: slope 1 + (F_p - F_q) / (2 weight r), r the density of interpolated points.

    The difference is then W1 + 1 / (2 weight) int (F_p - F_q)^2 / r.
    """
    x = grid(m)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    t = (nodes + 1) / 2
    at = norm.pdf(x[:, None], t * m, np.sqrt(t**2 + (1 - t) ** 2)) @ weights / 2
    return m + integral(below(m, x) ** 2 / at, x) / (2 * weight)


def discrepancy(kernel: Kernel, m: float) -> float:
    """MMD, by E k(x, y) over x - y ~ N(m, 2)."""
    u = np.linspace(-13.0, 13.0 + m, 8001)
    k = kernel.of(torch.as_tensor(u**2)).numpy()
    same, other = (integral(k * norm.pdf(u, shift, math.sqrt(2)), u) for shift in (0.0, m))
    return math.sqrt(2 * (same - other))


def points_of(m: float) -> Array:
    """Where critics are looked at."""
    return np.linspace(-3.0, 3.0 + m, 201)


def optimal(ruler: Ruler, m: float, x: Array) -> Array:
    """The best function of the class up to scale and constant."""
    p, q = densities(m, x)
    mu = (p + q) / 2
    if isinstance(ruler.loss, Bounded):
        return np.sign(m / 2 - x)
    if isinstance(ruler.loss, FisherBall):
        return (p - q) / mu
    if isinstance(ruler.loss, SobolevBall):
        return -cumulative_trapezoid(below(m, x) / mu, x, initial=0.0)
    if isinstance(ruler.loss, KernelBall):
        y = grid(m)
        k = ruler.loss.kernel.of(torch.as_tensor((x[:, None] - y) ** 2)).numpy()
        of_p, of_q = densities(m, y)
        return np.trapezoid(k * (of_p - of_q), y, axis=1)
    return -x


# --- rulers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ruler:
    """A function class, the network that plays in it, and the distance it measures.

    Attributes:
        name: of the distance and of how it is kept.
        loss: the class.
        truth: distance as a function of the shift.
        network: options of the discriminator; None where it learns nothing, on samples.
        lr: learning rate.
        shifts: at which more distances are measured.
    """

    name: str
    loss: FunctionClass
    truth: Callable[[float], float]
    network: dict[str, Any] | None = field(default_factory=dict, hash=False)
    lr: float = 3e-3
    shifts: tuple[float, ...] = ()

    @property
    def drawn(self) -> bool:
        """Whether its functions and distances are drawn."""
        return bool(self.shifts)


WIDE, NARROW = GaussianKernel((4.0,)), GaussianKernel((0.5,))
SHIFTS = (0.5, 2.0, 4.0, 6.0)
SMOOTH = {"activation": "softplus"}
RULERS = (
    Ruler("total variation", Bounded(), total_variation, {}, 1e-2, SHIFTS),
    Ruler("W1, spectral norm", Lipschitz(SpectralNorm()), lambda m: m, {}, 1e-2, SHIFTS),
    Ruler("W1, orthonormal layers", Lipschitz(Orthonormal()), lambda m: m, {"activation": "maxmin"}),
    Ruler("W1, penalty of weight 100", Lipschitz(GradientPenalty(100.0, one_sided=True)), lambda m: m, SMOOTH),
    Ruler(
        "W1 + penalty's excess, weight 10",
        Lipschitz(GradientPenalty(10.0, one_sided=True)),
        lambda m: penalised(10.0, m),
        SMOOTH,
    ),
    Ruler("MMD, Gaussian 0.5", KernelBall(NARROW, "samples"), lambda m: discrepancy(NARROW, m), None, shifts=SHIFTS),
    Ruler("MMD, Gaussian 4", KernelBall(WIDE, "samples"), lambda m: discrepancy(WIDE, m), None, shifts=SHIFTS),
    Ruler(
        "MMD, rational quadratic",
        KernelBall(RationalQuadraticKernel(), "samples"),
        lambda m: discrepancy(RationalQuadraticKernel(), m),
        None,
    ),
    Ruler("Fisher", FisherBall(RHO), fisher, {"activation": "tanh"}, 1e-2, SHIFTS),
    Ruler("Sobolev", SobolevBall(RHO), sobolev, SMOOTH, 1e-2, (0.5, 2.0, 3.0)),
)


@dataclass(frozen=True)
class Estimate:
    """What a trained discriminator says on fresh samples."""

    value: float
    omega: float
    multiplier: float
    slope: float
    critic: Array


@dataclass(frozen=True)
class FunctionClasses(Study):
    """Data N(0, 1) against N(m, 1) by every ruler.

    Attributes:
        steps: of the discriminator.
        batch: fresh rows a step, of each side.
        samples: fresh rows of each side that an estimate is made on.
        pairs: of these, those whose pairs a kernel sees.
        shifted: measure at other shifts as well.
        rulers: which of RULERS.
        tolerance: relative, of every estimate.
    """

    steps: int = 600
    batch: int = 512
    samples: int = 200_000
    pairs: int = 200_000
    shifted: bool = True
    rulers: tuple[str, ...] = tuple(ruler.name for ruler in RULERS)
    tolerance: float = 0.02

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "steps": 3000, "samples": 1_000_000, "pairs": 1_000_000}

    def measure(self, run: Run) -> Findings:
        chosen = [ruler for ruler in RULERS if ruler.name in self.rulers]
        rows: list[Row] = []
        found: dict[tuple[str, float], list[Estimate]] = {}
        for ruler in run.track(chosen, "rulers"):
            found[ruler.name, 1.0] = [self._estimate(ruler, 1.0, seed) for seed in range(self.seeds)]
            rows += self._judged(ruler, 1.0, found[ruler.name, 1.0])
        if self.shifted:
            for ruler in run.track(chosen, "shifts"):
                for m in ruler.shifts:
                    found[ruler.name, m] = [self._estimate(ruler, m, 0)]
                    rows += self._judged(ruler, m, found[ruler.name, m])
            rows += [*self._growth(chosen, found), *self._two_sided(), *self._clipped(), *self._mean_features()]
        return Findings(rows, found)

    def _judged(self, ruler: Ruler, m: float, estimates: list[Estimate]) -> list[Row]:
        expected = ruler.truth(m)
        values = [estimate.value for estimate in estimates]
        rows = [Row(f"{ruler.name}, shift {m:g}", values, expected, self.tolerance * expected)]
        if isinstance(ruler.loss, MeanSquareBall) and m == 1.0:
            multipliers = [estimate.multiplier for estimate in estimates]
            rows.append(Row(f"{ruler.name}: multiplier, half the distance", multipliers, expected / 2, 0.1 * expected))
        return rows

    @staticmethod
    def _growth(chosen: list[Ruler], found: dict[tuple[str, float], list[Estimate]]) -> list[Row]:
        """By how much a distance grows from shift 4 to 6: what has saturated gives the generator nothing."""
        rows = []
        for ruler in chosen:
            if 6.0 in ruler.shifts:
                small, large = (found[ruler.name, m][0].value for m in (4.0, 6.0))
                expected = ruler.truth(6.0) / ruler.truth(4.0)
                rows.append(Row(f"{ruler.name}: distance at shift 6 over that at 4", large / small, expected, 0.03))
        return rows

    def _two_sided(self) -> list[Row]:
        """On a line the slope cannot turn from -1 to 1 but through 0, which the two-sided penalty forbids."""
        weight = 10.0
        ruler = Ruler("two-sided", Lipschitz(GradientPenalty(weight)), lambda m: m, SMOOTH)
        values = [self._estimate(ruler, 1.0, seed).value for seed in range(self.seeds)]
        above = penalised(weight, 1.0)
        nearest = [min(abs(value - above), abs(value - (above - 2))) for value in values]
        right = f"{above:.3f}"
        wrong = f"{above - 2:.3f}"
        return [
            Row(f"two-sided penalty, weight 10: distance from {right} or {wrong}", nearest, 0.0, self.tolerance),
            Row("share of seeds on the wrong side", sum(value < 0 for value in values) / len(values)),
        ]

    def _clipped(self) -> list[Row]:
        """Clipping: W1 times a constant that nobody knows; at most its steepest slope."""
        rows = []
        for c in (0.03, CLIP):
            ruler = Ruler(f"clipped to {c:g}", Lipschitz(WeightClipping(c)), lambda m: m)
            estimates = [self._estimate(ruler, 1.0, seed) for seed in range(self.seeds)]
            rows += [
                Row(f"{ruler.name}: estimate of W1 = 1", [e.value for e in estimates]),
                Row(f"{ruler.name}: over its steepest slope", [e.value / e.slope for e in estimates], 1.0, 0.02, "<="),
            ]
        return rows

    def _mean_features(self) -> list[Row]:
        """Linear features within the box [-c, c]^k: all at its corners, c m k^(1/q)."""
        rows = []
        for p, power in ((2.0, 1 / 2), (math.inf, 1.0)):
            ruler = Ruler(f"mean features, p = {p:g}", MeanFeatures(p, WeightClipping(CLIP)), lambda m: m, None)
            values = []
            for seed in range(self.seeds):
                torch.manual_seed(seed)
                features = nn.Linear(1, FEATURES)
                train(ruler.loss, features, self._draw(1.0, seed), 200, 1e-2)
                values.append(self._read(ruler, features, *self._draw(1.0, 100 + seed, self.samples)(0)).value)
            expected = CLIP * FEATURES**power
            rows.append(Row(f"{ruler.name}, linear, clipped", values, expected, self.tolerance * expected))
        return rows

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(2, 4, width=13.0, height=2.9, width_ratios=[1, 1, 1, 1.7])
        m = 2.0 if self.shifted else 1.0
        shown = [ruler for ruler in RULERS if ruler.drawn and (ruler.name, m) in findings.data]
        for k, ax in enumerate(axes[:, :3].flat):
            if k < len(shown):
                _draw_critic(ax, shown[k], m, findings.data[shown[k].name, m])
            else:
                ax.set_axis_off()
        figure.legend(
            [Line2D([], [], color="0.35", linewidth=2.2), Line2D([], [], color=COLOURS[4], linestyle="--")],
            [f"learned critic, seed 0, shift {m:g}, scaled to E_p f - E_q f = 1", "closed form"],
            loc="outside lower left",
            ncols=2,
        )
        _draw_distances(axes[0, 3], findings.data)
        _draw_accuracy(axes[1, 3], findings.data, self.tolerance)
        return figure

    # --- measuring ------------------------------------------------------------------------------------------------

    def _draw(self, m: float, seed: int, rows: int | None = None) -> Callable[[int], tuple[Tensor, Tensor]]:
        numbers = torch.Generator().manual_seed(seed)
        n = self.batch if rows is None else rows
        return lambda step: (torch.randn(n, 1, generator=numbers), torch.randn(n, 1, generator=numbers) + m)

    def _estimate(self, ruler: Ruler, m: float, seed: int) -> Estimate:
        if ruler.network is None:
            return self._discrepancy(ruler, m, *self._draw(m, 1000 + seed, self.pairs)(0))
        torch.manual_seed(seed)
        discriminator = MLPDiscriminator((1,), width=32, depth=2, **ruler.network)
        memory = train(ruler.loss, discriminator, self._draw(m, seed), self.steps, ruler.lr)
        multiplier = float(memory.get("multiplier", math.nan))
        return self._read(ruler, discriminator, *self._draw(m, 1000 + seed, self.samples)(0), m, multiplier)

    @staticmethod
    def _read(
        ruler: Ruler, discriminator: nn.Module, real: Tensor, fake: Tensor, m: float = 1.0, multiplier: float = math.nan
    ) -> Estimate:
        discriminator.eval()
        d = looked_at(ruler.loss, discriminator, real, fake)
        value, omega = float(ruler.loss.difference(d).detach()), math.nan
        if isinstance(ruler.loss, MeanSquareBall):
            omega = float(ruler.loss.omega(d).detach())
            value /= math.sqrt(omega)
        x = torch.as_tensor(points_of(m), dtype=torch.float32)[:, None]
        points = looked_at(ruler.loss, discriminator, x, x)
        slope = float(points.gradient_of(x).detach().abs().max())
        critic = ruler.loss.critic(points.real_logits, d).detach().numpy()
        return Estimate(value, omega, multiplier, slope, critic)

    @staticmethod
    def _discrepancy(ruler: Ruler, m: float, real: Tensor, fake: Tensor, block: int = 250) -> Estimate:
        """The mean over blocks, each of all pairs: without bias as well."""
        pairs = zip(real.split(block), fake.split(block), strict=True)
        squares = [float(ruler.loss.difference(looked_at(ruler.loss, nn.Identity(), *rows))) for rows in pairs]
        value = math.sqrt(max(0.0, float(np.mean(squares))))
        x = torch.as_tensor(points_of(m), dtype=torch.float32)[:, None]
        assert isinstance(ruler.loss, KernelBall)
        critic = ruler.loss.kernel(x, real[:10_000]).mean(1) - ruler.loss.kernel(x, fake[:10_000]).mean(1)
        return Estimate(value, math.nan, math.nan, math.nan, critic.numpy())


# --- drawing ----------------------------------------------------------------------------------------------------------


def _draw_critic(ax: Any, ruler: Ruler, m: float, estimates: list[Estimate]) -> None:
    x = points_of(m)
    p, q = densities(m, x)

    def scaled(f: Array) -> Array:
        return (f - integral(f * (p + q), x) / integral(p + q, x)) / integral(f * (p - q), x)

    for density, colour in ((p, COLOURS[0]), (q, COLOURS[1])):
        ax.fill_between(x, -1.05, density - 1.05, color=colour, alpha=0.25, linewidth=0)
    for estimate in estimates:
        ax.plot(x, scaled(estimate.critic), color="0.35", linewidth=2.2)
    ax.plot(x, scaled(optimal(ruler, m, x)), color=COLOURS[4], linestyle=(0, (4, 2)), linewidth=1.4)
    ax.set(title=ruler.name, ylim=(-1.05, 1.05), xlim=(x[0], x[-1]), xlabel="x", yticks=(-1, 0, 1))


def _draw_distances(ax: Any, data: dict[tuple[str, float], list[Estimate]]) -> None:
    """Each in units of itself at shift 1."""
    curve = np.linspace(0.1, 6.0, 60)
    for colour, ruler in zip(COLOURS, (ruler for ruler in RULERS if ruler.drawn), strict=False):
        unit = ruler.truth(1.0)
        ax.plot(curve, [ruler.truth(m) / unit for m in curve], color=colour)
        measured = {m: [e.value / unit for e in found] for (name, m), found in data.items() if name == ruler.name}
        ax.plot(
            [m for m, values in measured.items() for _ in values],
            [value for values in measured.values() for value in values],
            "o", color=colour, markersize=4, label=ruler.name,
        )  # fmt: skip
    ax.set(ylim=(0, 6.3), xlim=(0, 6.2), xlabel="shift m", title="distance, in units of itself at shift 1")
    ax.legend(fontsize=7, loc="upper left")


def _draw_accuracy(ax: Any, data: dict[tuple[str, float], list[Estimate]], tolerance: float) -> None:
    names = [ruler.name for ruler in RULERS if (ruler.name, 1.0) in data]
    truths = {ruler.name: ruler.truth(1.0) for ruler in RULERS}
    ax.axvspan(-100 * tolerance, 100 * tolerance, color="0.93", linewidth=0)
    ax.axvline(0, color="0.6", linewidth=0.8)
    for k, name in enumerate(names):
        errors = [100 * (estimate.value / truths[name] - 1) for estimate in data[name, 1.0]]
        mean, half = mean_and_interval(errors)
        ax.plot(errors, [k] * len(errors), "o", color=COLOURS[0], alpha=0.4, markersize=4)
        ax.errorbar(mean, k, xerr=half, fmt="|", color="0.1", capsize=3)
    ax.set_yticks(range(len(names)), names, fontsize=7)
    ax.invert_yaxis()
    ax.set(xlabel="learned distance minus closed form, % (shift 1)", title="seeds, their mean and its 95 % interval")
