"""On a hairpin GANs fill the gap as it narrows; a Lipschitz critic points straight across, and loses modes there.

Two sheets with eight narrow modes each, gap 2, 0.5 or 0.125, against the same modes, masses and noise on a straight
line, which differs in nothing but the shape. WGAN-GP (weight 1, five critic steps), relativistic pairing with R1 and
R2, and the non-saturating loss with R1, by the same networks at an equal number of steps.

Exactly: across the gap at x the plane is gap / (2 (length - x) + pi gap / 2) as wide as the curve is long, and a lost
mode's signal through a logit of slope K is a function of K times the gap alone (studies/gap_signal.py). Measured on
trained discriminators: that signal, and where they send what is out of place.

At the narrow gap, three times the steps as well: where R1 is, what was lost comes back; with WGAN-GP it does not.

Runs are kept: what is done is not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from studies.gap_signal import OBJECTIVES, Displaced, across, hairpin, in_the_bend, optimum, pointed, trained_signal
from studies.hairpin_gans import (
    LENGTH,
    LOSSES,
    MODES,
    NON_SATURATING,
    RELATIVISTIC,
    WASSERSTEIN,
    Task,
    measures,
    trained,
)
from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels
from studies.kept import kept

Array = np.ndarray[Any, np.dtype[np.float64]]
Measured = dict[tuple[str, float, bool], dict[str, list[float]]]
NARROW = 0.125
#: W1 of mass moved across the gap at x = 2 of 4: in the plane, of what it is along the curve
RATIOS = {2.0: 0.2800, 1.0: 0.1795, 0.5: 0.1045, 0.25: 0.0569, 0.125: 0.0298}
#: S / p of the logistic objective at K d
SIGNALS = {0.05: 0.0248, 0.5: 0.2267, 1.0: 0.408, 2.0: 0.650, 4.0: 0.828}
STEEPNESS = (0.5, 1.0, 2.0, 4.0)  # K d of trained discriminators
ANGLE = 20.0  # degrees that a trained critic may miss the straight line by, in the mean over seeds
OFF = 0.01  # a perfect sampler has .0027 of its samples that far off
CASES = ("sheet", "bend", "line")
REPORTED = ("off the curve", "in the gap", "modes", "coverage", "imbalance", "geodesic W1", "straight W1")
DIRECTIONS = ("angle", "right way", "push")


@dataclass(frozen=True)
class CurvedManifolds(Study):
    """Parameters.

    Attributes:
        gaps: between the sheets, the narrowest last: modes are judged there.
        losses: names of LOSSES.
        iterations: of a GAN with one step of each player; a third of it where the critic takes five.
        longer: by how much longer GANs are trained once more at the last gap; 0 for not.
        samples: of a trained GAN, that it is judged on.
        steps: of discriminators against data of which one mode is out of place.
        signal_steps: of discriminators on two points.
    """

    gaps: tuple[float, ...] = (2.0, 0.5, NARROW)
    losses: tuple[str, ...] = (WASSERSTEIN, RELATIVISTIC, NON_SATURATING)
    iterations: int = 1000
    longer: int = 3
    samples: int = 10_000
    steps: int = 400
    signal_steps: int = 800

    FULL: ClassVar[dict[str, Any]] = {"seeds": 10, "iterations": 3000, "steps": 1000}

    def measure(self, run: Run) -> Findings:
        unknown = set(self.losses) - set(LOSSES)
        if unknown:
            raise ValueError(f"losses={self.losses}: no losses {sorted(unknown)}; there are {', '.join(LOSSES)}.")
        signals = self._signals(run)
        angles = self._angles(run)
        measured, samples = self._gans(run)
        later = self._later(run)
        rows = [*ratios(), *_signal_rows(signals), *_angle_rows(angles), *_gan_rows(measured)]
        rows += _later_rows(later, f"gap {self.gaps[-1]:g}, {self.longer} times the steps")
        return Findings(rows, (signals, angles, measured, samples, later))

    def _signals(self, run: Run) -> dict[str, dict[tuple[float, float], float]]:
        """S / p of trained discriminators by objective, gap and K d."""
        asked = (
            [(name, gap, x) for name in OBJECTIVES for gap in self.gaps for x in STEEPNESS] if self.signal_steps else []
        )
        found: dict[str, dict[tuple[float, float], float]] = {}
        for seed, (name, gap, x) in enumerate(run.track(asked, "signals")):
            path = run.out / "signals" / f"{name}-{gap:g}-{x:g}.json"
            train = partial(trained_signal, OBJECTIVES[name], x / gap, gap, seed, self.signal_steps)
            found.setdefault(name, {})[gap, x] = kept(path, {"steps": self.signal_steps, "seed": seed}, train)
        return found

    def _angles(self, run: Run) -> dict[tuple[str, float, str], list[tuple[float, float]]]:
        """Angle and size of the signal at what is out of place, by loss, gap and case, one a seed."""
        asked = [(loss, gap, case) for loss in self.losses for gap in self.gaps for case in CASES] if self.steps else []
        found: dict[tuple[str, float, str], list[tuple[float, float]]] = {}
        for loss, gap, case in run.track(asked, "directions"):
            for seed in range(self.seeds):
                path = run.out / "directions" / loss / f"{case}-{gap:g}-seed-{seed}.json"
                train = partial(pointed, displaced(case, gap), LOSSES[loss], seed, self.steps, rows=256)
                found.setdefault((loss, gap, case), []).append(tuple(kept(path, {"steps": self.steps}, train)))
        return found

    def _gans(self, run: Run) -> tuple[Measured, dict[tuple[str, float, bool], Any]]:
        tasks = [
            Task(loss, gap, unrolled, seed, self.iterations)
            for seed in range(self.seeds)
            for gap in self.gaps
            for unrolled in (False, True)
            for loss in self.losses
        ]
        measured: Measured = {}
        samples: dict[tuple[str, float, bool], Any] = {}
        for task in run.track(tasks, "GANs"):
            left = trained(task, run.out / "runs", self.samples)
            arm = measured.setdefault((task.loss, task.gap, task.unrolled), {})
            for name, value in measures(task, left).items():
                arm.setdefault(name, []).append(value)
            samples.setdefault((task.loss, task.gap, task.unrolled), left["samples"][:2000])
        return measured, samples

    def _later(self, run: Run) -> dict[str, dict[str, list[float]]]:
        """What became of longer training on the hairpin of the last gap, by loss."""
        found: dict[str, dict[str, list[float]]] = {}
        losses = self.losses if self.longer else ()
        asked = [(seed, loss) for seed in range(self.seeds) for loss in losses]
        for seed, loss in run.track(asked, "longer"):
            task = Task(loss, self.gaps[-1], False, seed, self.iterations * self.longer)
            for name, value in measures(task, trained(task, run.out / "longer", self.samples)).items():
                found.setdefault(loss, {}).setdefault(name, []).append(value)
        return found

    # --- figure -------------------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        signals, angles, measured, samples, later = findings.data
        figure, axes = panels(5, 4, width=11.0, height=2.1)
        for row, loss in enumerate(self.losses[:3]):
            for ax, (gap, unrolled) in zip(axes[row], self._shown(), strict=False):
                _scatter(ax, samples[loss, gap, unrolled], gap, unrolled)
                off = mean_and_interval([100 * share for share in measured[loss, gap, unrolled]["off the curve"]])
                where = f"line ({gap:g})" if unrolled else f"gap {gap:g}"
                ax.set_title(f"{loss}, {where}: {off[0]:.0f} ± {off[1]:.0f} % off", fontsize=7.5)
        for ax, name in zip(axes[3], ("off the curve", "imbalance", "coverage", "geodesic W1"), strict=True):
            self._against_gap(ax, measured, later, name)
        self._signal(axes[4, 0], signals)
        self._ratio(axes[4, 1])
        self._direction(axes[4, 2], angles, 0, "degrees off the geodesic")
        self._direction(axes[4, 3], angles, 1, "slope at what is out of place")
        return figure

    def _shown(self) -> list[tuple[float, bool]]:
        return [(gap, False) for gap in self.gaps[:3]] + [(self.gaps[-1], True)]

    def _against_gap(self, ax: Axes, measured: Measured, later: dict[str, dict[str, list[float]]], name: str) -> None:
        for loss, colour in zip(self.losses, COLOURS, strict=False):
            for unrolled in (False, True):
                values = [mean_and_interval(measured[loss, gap, unrolled][name]) for gap in self.gaps]
                ax.errorbar(
                    self.gaps, [v[0] for v in values], [v[1] for v in values], color=colour, capsize=2,
                    ls="--" if unrolled else "-", alpha=0.5 if unrolled else 1, label=None if unrolled else loss,
                )  # fmt: skip
            if loss in later:
                mean, half = mean_and_interval(later[loss][name])
                at = self.gaps[-1] * (0.7 + 0.06 * self.losses.index(loss))
                ax.errorbar(at, mean, half, fmt="*", color=colour, capsize=2)
        ax.plot([], [], color="0.5", ls="--", label="on a line")
        if later:
            ax.plot([], [], "*", color="0.5", label=f"{self.longer} times the steps")
        ax.set(title=name, xlabel="gap", xscale="log", ylim=(0, None))
        self._gap_ticks(ax)
        if name == "off the curve":
            ax.legend(fontsize=7)

    def _signal(self, ax: Axes, signals: dict[str, dict[tuple[float, float], float]]) -> None:
        x = np.geomspace(0.1, 6, 100)
        for (name, objective), colour in zip(OBJECTIVES.items(), COLOURS, strict=False):
            ax.plot(x, [objective.signal(v) for v in x], color=colour, label=name)
            for gap, marker in zip(self.gaps, "os^v", strict=False):
                found = {k: s for (g, k), s in signals.get(name, {}).items() if g == gap}
                ax.plot(list(found), list(found.values()), marker, color=colour, ms=4, mfc="none")
        for gap, marker in zip(self.gaps, "os^v", strict=False):
            ax.plot([], [], marker, color="0.4", ms=4, mfc="none", label=f"trained, gap {gap:g}")
        ax.set(title="signal of a lost mode, S / p", xlabel="K gap", xscale="log", yscale="log", ylim=(0.01, 8))
        ax.legend(fontsize=6, loc="lower right")

    def _ratio(self, ax: Axes) -> None:
        gap = np.geomspace(0.1, 2.5, 100)
        for x, colour in zip((0.0, 2.0, 3.75), COLOURS, strict=False):
            ax.plot(gap, gap / (2 * (LENGTH - x) + math.pi * gap / 2), color=colour, label=f"x = {x:g}")
        ax.plot(list(RATIOS), list(RATIOS.values()), "o", color=COLOURS[1], ms=4, mfc="none")
        ax.axhline(2 / math.pi, color="0.6", ls=":", label="sphere, at worst")
        ax.set(title="W1 across the gap, straight / geodesic", xlabel="gap", xscale="log", ylim=(0, None))
        self._gap_ticks(ax)
        ax.legend(fontsize=6, loc="center left")

    def _direction(self, ax: Axes, angles: Any, which: int, title: str) -> None:
        for i, case in enumerate(CASES):
            for j, (loss, colour) in enumerate(zip(self.losses, COLOURS, strict=False)):
                for k, gap in enumerate(self.gaps):
                    values = [value[which] for value in angles.get((loss, gap, case), [])]
                    at = i + 0.27 * (j - 1) + 0.07 * (k - 1)
                    mean, half = mean_and_interval(values) if values else (math.nan, math.nan)
                    ax.errorbar(at, mean, half, fmt="os^v"[k], color=colour, ms=4, mfc="none", capsize=2)
                    if which == 0:
                        ax.plot([at - 0.035, at + 0.035], [displaced(case, gap).chord_angle()] * 2, color="0.2", lw=1.5)
        ax.set_xticks(range(len(CASES)), CASES)
        ax.set(title=title, xlim=(-0.5, len(CASES) - 0.5))
        if which == 0:
            ax.set(ylim=(-5, 185), yticks=(0, 45, 90, 135, 180))
        else:
            ax.set(yscale="log", ylim=(1e-3, 4))
            for gap, marker in zip(self.gaps, "os^v", strict=False):
                ax.plot([], [], marker, color="0.4", ms=4, mfc="none", label=f"gap {gap:g}")
            ax.legend(fontsize=6, loc="lower left")

    def _gap_ticks(self, ax: Axes) -> None:
        ax.set_xticks(self.gaps, [f"{gap:g}" for gap in self.gaps])
        ax.minorticks_off()


def displaced(case: str, gap: float) -> Displaced:
    """A mode out of place: across the gap, in the bend, or as far along a line as the former along the curve."""
    if case == "bend":
        return in_the_bend(gap, MODES, LENGTH)
    return across(gap, MODES, LENGTH, unrolled=case == "line")


# --- rows -------------------------------------------------------------------------------------------------------------


def ratios(points: int = 4000) -> Iterator[Row]:
    """W1 across the gap, in the plane and by shortest paths of a graph on the curve, against the closed form."""
    for gap, printed in RATIOS.items():
        truth = hairpin(gap, MODES, LENGTH)
        at = torch.linspace(0, float(truth.lengths[0]), points, dtype=torch.float64)[:, None]
        curve = truth.embed(at).numpy()
        steps = np.linalg.norm(np.diff(curve, axis=0), axis=1)
        graph = csr_array((steps, (np.arange(points - 1), np.arange(1, points))), shape=(points, points))
        ends = truth.locate(torch.tensor([[2.0, 0.0], [2.0, gap]]))
        first, second = (int((at - end).abs().argmin()) for end in ends)
        path = float(dijkstra(graph, directed=False, indices=first)[second])
        yield Row(f"W1 across a gap of {gap:g}, straight / geodesic", gap / path, printed, 1e-4)


def _signal_rows(signals: dict[str, dict[tuple[float, float], float]]) -> Iterator[Row]:
    for x, printed in SIGNALS.items():
        yield Row(f"signal of a lost mode at K gap = {x:g}, logistic", OBJECTIVES["logistic"].signal(x), printed, 5e-4)
    for name, objective in OBJECTIVES.items():
        worst = max(
            abs(optimum(objective, slope, x / slope) - objective.signal(x)) for x in SIGNALS for slope in (0.5, 8.0)
        )
        yield Row(f"signal, {name}: the search's optimum at two slopes, less the closed form", worst, 0.0, 1e-6)
        if found := signals.get(name):
            reached = [value / objective.signal(x) for (_, x), value in found.items()]
            yield Row(f"signal, {name}: trained / closed form, all gaps and K", reached, 1.0, 0.03)


def _angle_rows(angles: dict[tuple[str, float, str], list[tuple[float, float]]]) -> Iterator[Row]:
    for (loss, gap, case), values in angles.items():
        found, slopes = ([value[i] for value in values] for i in (0, 1))
        chord = displaced(case, gap).chord_angle()
        name = f"{loss}, gap {gap:g}, {case}: degrees off the geodesic"
        # a Lipschitz critic sends mass straight to where it lacks
        yield Row(name, found, chord, ANGLE, on_mean=True) if loss == WASSERSTEIN else Row(name, found)
        yield Row(f"{loss}, gap {gap:g}, {case}: slope there", slopes)


def _gan_rows(measured: Measured) -> Iterator[Row]:
    losses = list(dict.fromkeys(loss for loss, _, _ in measured))
    gaps = sorted({gap for _, gap, _ in measured}, reverse=True)
    for loss in losses:
        for gap in gaps:
            curved, flat = measured[loss, gap, False], measured[loss, gap, True]
            for name in REPORTED:
                for where, arm in (("hairpin", curved), ("line", flat)):
                    yield Row(f"{loss}, gap {gap:g}, {where}: {name}", arm[name])
            for name in DIRECTIONS:
                for place in ("sheets", "bend"):
                    yield Row(f"{loss}, gap {gap:g}: {name}, {place}", _known(curved[f"{name}, {place}"]))
                yield Row(f"{loss}, gap {gap:g}: {name}, line", _known(flat[f"{name}, line"]))
    for loss in losses:
        yield from _judged(loss, gaps, measured)


def _judged(loss: str, gaps: list[float], measured: Measured) -> Iterator[Row]:
    """What must hold of a loss: the nearer end of the 95 % interval of a difference by seed is on the claim's side."""

    def difference(name: str, gap: float) -> Array:
        curved, flat = (measured[loss, gap, unrolled][name] for unrolled in (False, True))
        return np.array([a - b for a, b in zip(curved, flat, strict=True)])

    narrow = gaps[-1]
    for gap in gaps:
        name = f"{loss}, gap {gap:g}: off the curve, hairpin - line"
        yield _above(name, difference("off the curve", gap), OFF)
    if gaps[1:]:
        more, less = (np.array(measured[loss, gap, False]["in the gap"]) for gap in (narrow, gaps[0]))
        yield _above(f"{loss}: in the gap, at {narrow:g} - at {gaps[0]:g}", more - less, 0.1)
    yield _above(f"{loss}, gap {narrow:g}: coverage, line - hairpin", -difference("coverage", narrow), 0.05)
    if loss == WASSERSTEIN:
        yield _above(f"{loss}, gap {narrow:g}: imbalance, hairpin - line", difference("imbalance", narrow), 0.05)
        geodesic, straight = (difference(f"{which} W1", narrow) for which in ("geodesic", "straight"))
        yield _above(f"{loss}, gap {narrow:g}: geodesic W1, hairpin - line", geodesic, 0.05)
        yield _above(f"{loss}, gap {narrow:g}: straight W1, line - hairpin", -straight, -0.05)


def _later_rows(later: dict[str, dict[str, list[float]]], when: str) -> Iterator[Row]:
    for loss, arm in later.items():
        for name in REPORTED:
            yield Row(f"{loss}, {when}: {name}", arm[name])
    for loss, arm in later.items():
        if WASSERSTEIN in later and loss != WASSERSTEIN:
            covered, uneven = (np.subtract(arm[name], later[WASSERSTEIN][name]) for name in ("coverage", "imbalance"))
            yield _above(f"{when}: coverage, {loss} - {WASSERSTEIN}", covered, 0.05)
            yield _above(f"{when}: imbalance, {WASSERSTEIN} - {loss}", -uneven, 0.1)


def _above(name: str, differences: Array, least: float) -> Row:
    mean, half = mean_and_interval(differences.tolist())
    low = mean if math.isnan(half) else mean - half
    return Row(f"{name}, low end of the interval", low, least, relation=">=")


def _known(values: list[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)] or [math.nan]


def _scatter(ax: Axes, samples: Any, gap: float, unrolled: bool) -> None:
    truth = hairpin(gap, MODES, LENGTH)
    at = torch.linspace(0, float(truth.lengths[0]), 400, dtype=torch.float64)[:, None]
    shape = truth.unrolled() if unrolled else truth
    ax.plot(*shape.embed(at).T.numpy(), color="0.8", lw=0.8)
    ax.plot(*samples.T, ".", color=COLOURS[0], ms=1, alpha=0.4)
    ax.plot(*shape.means.T.numpy(), "x", color=COLOURS[1], ms=4, mew=0.8)
    margin = 0.6 * gap
    middle = 0.0 if unrolled else gap / 2
    ax.set(ylim=(middle - gap / 2 - margin, middle + gap / 2 + margin), xlim=(-0.3, None), yticks=())
