"""Whitening frees training's length from the condition number; on digits it trades large directions for small ones.

Gaussians of 32 dimensions that differ in location, with condition numbers up to 1,000 and axes turned at random: raw,
standardised, whitened, and raw under R1 of each direction's own weight, which damps all directions alike. At each one's
best learning rate, the iterations in which the state shrinks a thousandfold are predicted by the update operator and
played. A control has its axes aligned, where standardising whitens.

Digits in training spaces of equal total variance: raw, standardised, centred, and whitened by powers from .25 to 1. For
each the learning rate is tuned, on seeds of their own. Frechet distances to 600 held-out digits in the classifier's
features and in pixels; and by eigendirection what is generated, and what the classifier looks at.

Runs that take long are kept: what is done is not repeated, and a study that was stopped goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels
from studies.whitening_digits import FEATURES, RECIPES, Recipe
from studies.whitening_distances import digits_rows, draw_digits, on_digits, spaces_rows
from studies.whitening_gaussian import (
    ALIGNED,
    ARMS,
    RAW,
    RULES,
    STANDARDISED,
    Arm,
    Case,
    case,
    condition_with_bias,
    largest_stable_rate,
)

Cases = dict[tuple[str, Arm, float], Case]
#: slope of log iterations on log condition number
SLOPES = {"simultaneous": 2.0, "alternating": 1.0}


@dataclass(frozen=True)
class Whitening(Study):
    """Parameters.

    Attributes:
        conditions: condition numbers of the Gaussians.
        play_up_to: iterations; what is predicted to take more is not played.
        games: which of RECIPES are trained on digits.
        spaces: of these, in which spaces; all of each if empty.
        scale: factor on their iterations.
        tuned_for: whose distances learning rates are tuned for, "classifier" and "pixels", with runs for each.
        tuning_seeds: how many seeds they are tuned on.
        jobs: of digits, runs at a time, one thread each.
    """

    conditions: tuple[float, ...] = (1, 10, 100, 1000)
    play_up_to: int = 500_000
    games: tuple[str, ...] = ("R3GAN",)
    spaces: tuple[str, ...] = ()
    scale: float = 1.0
    tuned_for: tuple[str, ...] = ("classifier",)
    tuning_seeds: int = 1
    jobs: int = 1

    FULL: ClassVar[dict[str, Any]] = {
        "seeds": 10,
        "games": tuple(RECIPES),
        "tuning_seeds": 3,
        "tuned_for": tuple(FEATURES),
    }

    def measure(self, run: Run) -> Findings:
        asked = [(rule, arm, k) for rule in RULES for arm in ARMS for k in self.conditions]
        cases = {
            (rule, arm, k): case(arm, k, rule, self.seeds, self.play_up_to, run.out / "gaussians")
            for rule, arm, k in run.track(asked, "Gaussians")
        }
        rows = [*_closed_forms(), *self._gaussians(cases)] if cases else []
        recipes = [self._recipe(name) for name in self.games]
        tuning = range(100, 100 + self.tuning_seeds)
        found = on_digits(recipes, self.tuned_for, range(self.seeds), tuning, run, self.jobs)
        rows += spaces_rows(sorted({space for recipe in recipes for space in recipe.spaces}))
        for recipe in recipes:
            rows += digits_rows(recipe, found)
        return Findings(rows, {"cases": cases, "digits": found})

    def _recipe(self, game: str) -> Recipe:
        recipe = RECIPES[game]
        spaces = self.spaces or recipe.spaces
        return replace(recipe, iterations=int(self.scale * recipe.iterations), spaces=spaces)

    def _gaussians(self, cases: Cases) -> Iterator[Row]:
        for (rule, arm), own in _by_arm(cases).items():
            name = f"{rule}, {arm.name}"
            for k, found in own.items():
                how = "played" if found.measured else "predicted"
                yield Row(f"{name}, condition number {k:g}: iterations, {how}", found.iterations)
            ratios = [m / p for found in own.values() for m, p in zip(found.measured, found.predicted, strict=False)]
            if ratios:
                yield Row(f"{name}: iterations played / predicted", ratios, 1.0, 0.03)
            logs = [
                math.log(radius) / math.log(form)
                for found in own.values()
                for radius, form in zip(found.radii, found.closed_forms, strict=True)
                if form > 1e-3  # else the update is nilpotent but for rounding
            ]
            if logs:
                yield Row(f"{name}: log radius of the update / closed form", logs, 1.0, 1e-3)
            if arm is STANDARDISED:
                left = [value / k for k, found in own.items() if k > 1 for value in found.conditions]
                yield Row(f"{name}: condition number after / before", left, 0.5, relation=">=")
            ends = [k for k in own if k >= 10]
            fit = np.polyfit(np.log(ends), np.log([own[k].iterations for k in ends]), 1)
            yield _slope(f"{name}: slope of log iterations on log condition number", rule, arm, fit[0].tolist())

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(2, 3, width=12.0, height=3.3)
        for ax, rule in zip(axes[0], RULES, strict=False):
            _draw_steps(ax, rule, findings.data["cases"])
        draw_digits(axes.flat[2:], findings.data["digits"])
        return figure


def _by_arm(cases: Cases) -> dict[tuple[str, Arm], dict[float, Case]]:
    """By condition number, of each rule and arm."""
    parts: dict[tuple[str, Arm], dict[float, Case]] = {}
    for (rule, arm, k), found in cases.items():
        parts.setdefault((rule, arm), {})[k] = found
    return parts


def _slope(name: str, rule: str, arm: Arm, slopes: list[float]) -> Row:
    if arm is STANDARDISED:  # less steep than raw: its total variance is d, raw's falls as 1 / log k
        return Row(name, slopes, 0.7 * SLOPES[rule], relation=">=")
    return Row(name, slopes, SLOPES[rule], 0.1) if arm is RAW else Row(name, slopes, 0.0, 0.05)


def _closed_forms() -> Iterator[Row]:
    """Of the largest stable learning rate of simultaneous steps, and of the condition number of data off centre."""
    for s in (0.1, 0.5, 1.0, 2.0):
        yield Row(f"variance {s:g}: largest stable learning rate", largest_stable_rate(s), 2 * s, 1e-5)
    flip = 2 / (3 / 4 + math.sqrt((3 / 4) ** 2 - 1 / 4))
    yield Row("variance 3: largest stable learning rate", largest_stable_rate(3.0), flip, 1e-5)
    for m in (1.0, 5.0, 10.0):
        q = math.sqrt((2 + m**2) ** 2 - 4)
        expected = (2 + m**2 + q) / (2 + m**2 - q)
        yield Row(f"mean {m:g}: condition number with a bias", condition_with_bias(m), expected, 1e-5 * expected)


def _draw_steps(ax: Any, rule: str, cases: Cases) -> None:
    """Points are played, lines predicted."""
    for ((of, arm), own), colour in zip(_by_arm(cases).items(), 2 * COLOURS[: len(ARMS)], strict=False):
        if of != rule:
            continue
        ax.plot(list(own), [np.mean(found.predicted) for found in own.values()], color=colour, lw=1.2,
                ls="--" if arm is ALIGNED else "-", label=arm.name)  # fmt: skip
        played = {k: mean_and_interval(found.measured) for k, found in own.items() if found.measured}
        ax.errorbar(list(played), [mean for mean, _ in played.values()], [half for _, half in played.values()],
                    fmt="o", color=colour, ms=4, capsize=2)  # fmt: skip
    ax.set(title=f"Gaussians, {rule}", xscale="log", yscale="log", xlabel="condition number of the data",
           ylabel="iterations to a thousandth")  # fmt: skip
    ax.legend(fontsize=7, loc="upper left", title="line predicted, dot played", title_fontsize=7)
