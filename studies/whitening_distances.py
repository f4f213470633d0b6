"""What training spaces do to GANs on digits: distances, learning rates, and errors by eigendirection."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from studies.harness import COLOURS, Row, Run, mean_and_interval
from studies.whitening_digits import (
    FEATURES,
    Array,
    Recipe,
    Scores,
    classifier_signal,
    digits,
    eigendirections,
    runs,
    training_space,
    tuned,
)

#: whose distance learning rates are tuned for, where nothing else is said
TUNED_FOR = "classifier"
#: of eigendirections, the largest variance first: those that carry most of the signal, and those that carry little
FIRST, LATER = slice(0, 10), slice(20, 40)
POWERS = {"raw": -0.12, "power 0": 0.0, "power .25": 0.25, "power .5": 0.5, "power .75": 0.75, "power 1": 1.0}


@dataclass
class OnDigits:
    """Runs at learning rates tuned for each of the features.

    Attributes:
        scores: of the tuning, by game and space.
        results: of the runs by game, space and the features whose distance they are tuned for, one a seed.
    """

    scores: dict[tuple[str, str], Scores]
    results: dict[tuple[str, str, str], list[dict[str, Any]]]

    def rate(self, game: str, space: str, tuned_for: str) -> float:
        """The learning rate of least distance."""
        known = self.scores[game, space][tuned_for]
        return min(known, key=known.__getitem__)

    def paths(self, game: str, space: str, features: str, tuned_for: str = TUNED_FOR) -> Array:
        """Distances on the way, (seeds, evaluations)."""
        return np.array([[at[features] for at in run["path"]] for run in self.results[game, space, tuned_for]])

    def iterations(self, game: str, space: str) -> list[int]:
        """At which they were taken."""
        return [at["iteration"] for at in self.results[game, space, TUNED_FOR][0]["path"]]

    def errors(self, game: str, space: str) -> Array:
        """By eigendirection the squared W2 distance of the Gaussians along it, over its variance: (seeds, d)."""
        found = self.results[game, space, TUNED_FOR]
        shift, variance = (np.array([run[name] for run in found]) for name in ("shift", "variance"))
        real = eigendirections()[1]
        return np.asarray((shift**2 + (np.sqrt(variance) - np.sqrt(real)) ** 2) / real)


def on_digits(
    recipes: Sequence[Recipe], tuned_for: Sequence[str], seeds: range, tuning_seeds: range, run: Run, jobs: int
) -> OnDigits:
    """Tune, then train at what is best for each of ``tuned_for``; runs are kept in the study's directory."""
    out = run.out / "digits"
    found = OnDigits(tuned(recipes, tuned_for, tuning_seeds, out, jobs), {})
    names = [(recipe, space, features) for recipe in recipes for features in tuned_for for space in recipe.spaces]
    trainings = [
        recipe.training(space, found.rate(recipe.game, space, features), seed)
        for recipe, space, features in names
        for seed in seeds
    ]
    once = list(dict.fromkeys(trainings))  # a rate may be best for both
    known = dict(zip(once, run.track(runs(once, out, jobs), "digits", total=len(once)), strict=True))
    asked = iter(trainings)
    for recipe, space, features in names:
        found.results[recipe.game, space, features] = [known[next(asked)] for _ in seeds]
    return found


# --- rows -------------------------------------------------------------------------------------------------------------


def spaces_rows(spaces: Sequence[str]) -> Iterator[Row]:
    """Of every space, that its total variance is the data's, its condition number, and its first directions' share."""
    axes = torch.from_numpy(eigendirections()[0])
    for space in spaces:
        real = digits()[0].double()
        rows = training_space(space)(real).flatten(1)
        rows = rows - rows.mean(0)
        spectrum = torch.linalg.svdvals(rows)[: axes.shape[1]] ** 2
        along = (rows @ axes).square().sum(0)
        total = float(rows.square().sum() / (real - real.mean(0)).square().sum())
        yield Row(f"digits, {space}: total variance / raw", total, 1.0, 1e-6)
        yield Row(f"digits, {space}: condition number", float(spectrum[0] / spectrum[-1]))
        yield Row(
            f"digits, {space}: share of variance of the first ten directions", float(along[FIRST].sum() / along.sum())
        )
    if spaces:
        share = float(classifier_signal()[FIRST].sum())
        yield Row("digits: share of the classifier's signal in the first ten directions", share, 0.75, relation=">=")


def digits_rows(recipe: Recipe, found: OnDigits) -> Iterator[Row]:
    """Of every space distances and time; then what is claimed of whitening in full and by half."""
    game = recipe.game
    ends = {
        (space, features): found.paths(game, space, features)[:, -1] for space in recipe.spaces for features in FEATURES
    }
    for (space, features), values in ends.items():
        rate = found.rate(game, space, TUNED_FOR)
        yield Row(f"{game}, {space}, lr {rate:g}: distance, {features}", values.tolist())
    for of, space, tuned_for in found.results:
        if of == game and tuned_for != TUNED_FOR:
            values = found.paths(game, space, tuned_for, tuned_for)[:, -1]
            rate = found.rate(game, space, tuned_for)
            yield Row(f"{game}, {space}, lr {rate:g}: distance, {tuned_for}, tuned for it", values.tolist())
    if "raw" not in recipe.spaces:
        return
    target = 2 * float(ends["raw", "classifier"].mean())
    for space in recipe.spaces:
        yield Row(f"{game}, {space}: iterations to twice raw's distance, classifier", _time(found, game, space, target))
    for space, features, bound, relation in CLAIMS.get(game, ()):
        if space in recipe.spaces:
            ratios = (ends[space, features] / ends["raw", features].mean()).tolist()
            yield Row(f"{game}, {space}: distance / raw, {features}", ratios, bound, relation=relation, on_mean=True)
    # by direction at one learning rate only, which moves errors by as much as a space does
    if "power 1" in recipe.spaces and found.rate(game, "raw", TUNED_FOR) == found.rate(game, "power 1", TUNED_FOR):
        raw, full = (found.errors(game, space) for space in ("raw", "power 1"))
        first, later = ((full[:, part].mean(1) / raw[:, part].mean()).tolist() for part in (FIRST, LATER))
        name = f"{game}, power 1: relative error / raw"
        yield Row(f"{name}, first ten directions", first, 1.2, relation=">=", on_mean=True)
        yield Row(f"{name}, directions 21 to 40", later, 1.0, relation="<=", on_mean=True)


#: (space, features, bound, relation) of the ratio to raw
CLAIMS: dict[str, tuple[tuple[str, str, float, Any], ...]] = {
    "R3GAN": (
        ("power 1", "classifier", 1.5, ">="),
        ("power 1", "pixels", 1.1, ">="),
        ("power .5", "classifier", 1.1, ">="),
        ("power .5", "pixels", 1.0, "<="),
    ),
    "WGAN-GP": (
        ("power 1", "classifier", 1.05, ">="),
        ("power .5", "classifier", 1.0, ">="),
        ("power .5", "pixels", 0.8, "<="),
    ),
}


def _time(found: OnDigits, game: str, space: str, target: float) -> list[float]:
    """Iterations at the first evaluation at or below the target, one a seed; infinite where there is none."""
    at = found.iterations(game, space)
    below = found.paths(game, space, "classifier") <= target
    return [float(at[int(row.argmax())]) if row.any() else math.inf for row in below]


# --- figure -----------------------------------------------------------------------------------------------------------


def draw_digits(axes: Sequence[Any], found: OnDigits) -> None:
    """Of the first game: distances by power, those on the way, and errors by eigendirection."""
    if not found.results:
        return
    game = next(iter(found.results))[0]
    spaces = [space for of, space, tuned_for in found.results if of == game and tuned_for == TUNED_FOR]
    colours = dict(zip(POWERS, (COLOURS[6], COLOURS[5], COLOURS[2], COLOURS[0], COLOURS[4], COLOURS[1]), strict=True))
    colours["standardised"] = COLOURS[3]
    _draw_by_power(axes[0], game, spaces, found)
    way, errors, signal = axes[1:]
    reference = found.errors(game, spaces[0]).mean(0)
    for space in spaces:
        paths = found.paths(game, space, "classifier")
        way.plot(found.iterations(game, space), paths.mean(0), color=colours[space], label=space)
        errors.plot(_smooth(found.errors(game, space).mean(0) / reference), color=colours[space])
    way.set(title=f"digits, {game}: on the way", xlabel="iteration", ylabel="distance, classifier", yscale="log")
    errors.set(title="error along an eigendirection", xlabel="eigendirection, largest variance first",
               ylabel=f"squared W2 / that of {spaces[0]}", yscale="log", ylim=(0.2, 5))  # fmt: skip
    for ax, ticks in ((way, (2, 5, 10, 20, 50, 100)), (errors, (0.2, 0.5, 1, 2, 5))):
        ax.set_yticks(ticks, map(str, ticks))
        ax.yaxis.set_minor_formatter("")
    _draw_shares(signal, spaces, colours)
    for ax in (way, signal):
        ax.legend(fontsize=7)


def _draw_by_power(ax: Any, game: str, spaces: Sequence[str], found: OnDigits) -> None:
    """Relative to raw, mean and 95 % interval."""
    lines = [(features, TUNED_FOR) for features in FEATURES]
    lines += [(of, of) for of in dict.fromkeys(name[2] for name in found.results) if of != TUNED_FOR]
    for (features, tuned_for), colour, marker in zip(lines, COLOURS, "osD", strict=False):
        ends = {space: found.paths(game, space, features, tuned_for)[:, -1] for space in spaces}
        raw = ends["raw"].mean() if "raw" in spaces else 1.0
        known = {space: mean_and_interval((values / raw).tolist()) for space, values in ends.items()}
        at = [space for space in POWERS if space in known]
        means, halves = zip(*(known[x] for x in at), strict=True)
        style: dict[str, Any] = {"ms": 4, "capsize": 2, "color": colour}
        label = f"{features}, tuned for {'it' if features == tuned_for else tuned_for}"
        ax.errorbar([POWERS[x] for x in at], means, halves, fmt=f"{marker}-", label=label, **style)
        if "standardised" in known:
            mean, half = known["standardised"]
            ax.errorbar([1.2], [mean], [half], fmt=marker, **style)
    ax.axhline(1, color="0.6", lw=0.8)
    ax.set(title=f"digits, {game}: distance / raw", xlabel="power of the whitening", ylim=(0, None))
    ax.set_xticks([-0.12, 0, 0.25, 0.5, 0.75, 1, 1.2], ["raw", "0", ".25", ".5", ".75", "1", "std"])
    ax.legend(fontsize=7)


def _draw_shares(ax: Any, spaces: Sequence[str], colours: dict[str, str]) -> None:
    variances = eigendirections()[1]
    ax.plot(np.cumsum(classifier_signal()), color="black", lw=2, label="classifier's signal")
    for space in spaces:
        if space in POWERS and space != "raw":
            share = variances ** (1 - POWERS[space])
            ax.plot(np.cumsum(share) / share.sum(), color=colours[space], label=f"variance, {space}")
    ax.set(title="share of the directions up to here", xlabel="eigendirection, largest variance first", ylim=(0, 1.02))


def _smooth(values: Array, width: int = 5) -> Array:
    """Geometric mean over neighbours."""
    padded = np.pad(np.log(values), width // 2, mode="edge")
    return np.asarray(np.exp(np.convolve(padded, np.full(width, 1 / width), mode="valid")))
