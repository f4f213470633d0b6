"""Which metric sees what: every one against real data that is corrupted on purpose, in deviations of its floor.

Real data are dealt anew for each seed: a training part, held-out reals, and what nobody has seen. Of the last a perfect
generator's samples are made, and those of generators that each do one thing wrong (``studies.corruptions``). All
metrics that ``callbacks.metrics`` exports are shown them as in an evaluation. What a perfect generator scores is the
floor, and its standard deviation over deals the unit: a corruption moves a value by

    (value - value of the same deal's perfect generator) / standard deviation of the floor,

positive where the metric calls it worse. Three and more in every seed is seen; a mean between -2 and 2 is not; -3 and
less in every seed is taken for an improvement.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure

import callbacks.metrics
from callbacks.evaluation import Evaluation
from callbacks.metrics.base import SampleMetric
from callbacks.sample_metrics import every_metric
from callbacks.views import Views
from gan_modules.batch import key
from studies.corruptions import CORRUPTIONS, DATA, NONE, Data, Deal, applies
from studies.harness import Findings, Row, Run, Study, panels

#: whether more of a value is better, where a metric has values of both kinds; None: it is no judgement of the samples
MORE_IS_BETTER: dict[str, bool | None] = {
    **dict.fromkeys(["modes", "mode_entropy", "mode_share_min", "high_quality"], True),
    **dict.fromkeys(["mode_kl", "mode_reverse_kl", "mode_js"], False),
    **{"birthday_support": True, "birthday_pairs": False, "authenticity": True, "copies": False},
    **dict.fromkeys(["fid_infinity_r2", "kid_error", "between_floor", "ms_ssim_scales", "ms_ssim_window"]),
}
SEEN, UNSEEN = 3.0, 2.0  # deviations of the floor
MOST = 100.0  # beyond which deviations are not told apart
#: what is asked of the deviations of all seeds, or of their mean
VERDICTS: dict[str, dict[str, Any]] = {
    "worse": {"expected": SEEN, "relation": ">="},
    "not seen": {"expected": 0.0, "tolerance": UNSEEN, "on_mean": True},
    "better": {"expected": -SEEN, "relation": "<="},
}
#: by data and corruption, what values say of it
CLAIMS: dict[tuple[str, str], dict[str, str]] = {
    ("digits", "1 class dropped"): {
        "worse": "fid fid_infinity recall inception_score mode_reverse_kl mode_entropy ndb_js",
        "not seen": "precision density between ms_ssim authenticity copies birthday_pairs",
    },
    ("hairpin", "1 class dropped"): {
        "worse": "recall coverage geodesic_coverage mode_reverse_kl ndb_js",  # fid misses a mode near the mean
        "not seen": "precision density between high_quality on_manifold authenticity copies",
    },
    ("digits", "half of classes dropped"): {
        "worse": "vendi coverage kid ndb",
        "not seen": "precision density between ms_ssim",
    },
    ("digits", "classes 4 : 1"): {"worse": "fid mode_kl mode_entropy", "not seen": "modes precision recall"},
    ("hairpin", "classes 4 : 1"): {
        "worse": "mode_kl mode_entropy coverage",
        "not seen": "modes precision recall",
    },
    ("digits", "narrowed"): {
        "worse": "recall ms_ssim vendi birthday_pairs fid_class_mean",
        "better": "density",
        "not seen": "inception_score mode_kl",
    },
    ("hairpin", "narrowed"): {
        "worse": "recall coverage vendi fid_class_mean birthday_pairs",
        "better": "between",
        "not seen": "fid mode_kl",
    },
    ("digits", "noise"): {"not seen": "fid inception_score mode_kl"},
    ("hairpin", "noise"): {
        "worse": "precision density high_quality on_manifold fid_class_mean",
        "better": "vendi",
        "not seen": "fid mode_kl",
    },
    ("digits", "blur"): {
        "worse": "fid fid_infinity recall coverage ms_ssim vendi",
        "not seen": "inception_score precision mode_kl",
    },
    ("digits", "20 % hybrids"): {"worse": "between precision inception_score", "not seen": "fid recall mode_kl vendi"},
    ("hairpin", "20 % hybrids"): {
        "worse": "between precision high_quality on_manifold fid_class_mean",
        "better": "vendi",
        "not seen": "recall mode_kl",
    },
    ("digits", "each 10 times"): {"worse": "recall coverage vendi birthday_pairs", "not seen": "precision copies"},
    ("hairpin", "each 10 times"): {"worse": "recall coverage birthday_pairs", "not seen": "precision copies"},
    ("digits", "memorised"): {
        "worse": "authenticity copies",
        "not seen": "fid fid_infinity kid precision recall coverage vendi inception_score ndb_js birthday_pairs",
    },
    ("hairpin", "memorised"): {
        "worse": "authenticity copies",
        "not seen": "fid fid_infinity kid precision recall coverage vendi ndb_js birthday_pairs",
    },
    ("digits", "memorised + noise"): {"worse": "authenticity copies", "not seen": "fid precision recall"},
    ("hairpin", "memorised + noise"): {"not seen": "fid precision recall copies"},
    ("digits", "one sample"): {
        "worse": "fid kid recall coverage vendi ms_ssim inception_score mode_entropy ndb_js birthday_pairs"
    },
    ("hairpin", "one sample"): {"worse": "fid recall coverage vendi mode_entropy ndb_js birthday_pairs"},
    ("digits", "wrong labels"): {
        "worse": "fid_class_mean fid_class_worst",
        "not seen": "fid precision recall mode_kl inception_score",
    },
}


@dataclass
class Effects:
    """What corruptions did to values on some data.

    Attributes:
        values: by name, corruption and deal.
        more_is_better: by name.
        left_out: why a metric has no values, by its class.
    """

    values: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    more_is_better: dict[str, bool] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def floor(self, name: str) -> tuple[float, float]:
        """Mean and standard deviation over deals of what a perfect generator scores."""
        scores = np.array(list(self.values[name][NONE].values()))
        return float(scores.mean()), float(scores.std(ddof=1))

    def moved(self, name: str, corruption: str) -> list[float]:
        """Deviations of the floor in the direction of worse, one a deal; none where there are no values."""
        corrupted = self.values.get(name, {}).get(corruption, {})
        if not corrupted:
            return []
        worse = -1 if self.more_is_better[name] else 1
        change = np.array([worse * (value - self.values[name][NONE][deal]) for deal, value in corrupted.items()])
        with np.errstate(divide="ignore"):  # what never varied has moved infinitely far
            return list(np.where(change == 0, 0.0, change / np.where(change == 0, 1.0, self.floor(name)[1])))

    def median(self, name: str, corruption: str) -> float:
        """Of the deviations, in [-MOST, MOST]; NaN where there are none."""
        moved = self.moved(name, corruption)
        return float(np.clip(np.median(moved), -MOST, MOST)) if moved else math.nan


@dataclass(frozen=True)
class MetricSanity(Study):
    """Digits in features of their classifier, and points on a curve, whose density is known.

    Attributes:
        seeds: deals that are corrupted.
        floors: deals of which the floor is taken, ``seeds`` or more.
    """

    seeds: int = 8
    floors: int = 24

    FULL: ClassVar[dict[str, Any]] = {"seeds": 24, "floors": 100}

    def measure(self, run: Run) -> Findings:
        effects = {name: self._effects(make(), name, run) for name, make in DATA.items()}
        tables = [f"{name}\n\n{markdown(found)}" for name, found in effects.items()]
        (run.out / "table.md").write_text("\n\n".join(tables) + "\n")
        return Findings(list(claims(effects)), effects)

    def _effects(self, data: Data, name: str, run: Run) -> Effects:
        metrics = [getattr(callbacks.metrics, metric)() for metric in every_metric()]
        effects = Effects()
        for seed in run.track(range(max(self.floors, self.seeds)), name):
            numbers = torch.Generator().manual_seed(key("deal", seed))
            deal = data.deal(numbers)
            generated = self._generated(data, deal, seed)
            reals = {"held_out": data.views(deal.held_out), "training": data.views(deal.training)}
            for metric in metrics:
                _judge(metric, data, reals, generated, effects, seed)
        return effects

    def _generated(self, data: Data, deal: Deal, seed: int) -> dict[str, list[Views]]:
        """Samples of a deal by corruption, which all spoil the same ones."""
        asked = [corruption for corruption in CORRUPTIONS if applies(corruption, data)] if seed < self.seeds else [NONE]
        numbers = {corruption: torch.Generator().manual_seed(key("corruption", seed)) for corruption in asked}
        return {name: data.views(CORRUPTIONS[name](data, deal, generator)) for name, generator in numbers.items()}

    def figure(self, findings: Findings) -> Figure:
        effects: dict[str, Effects] = findings.data
        names = list(dict.fromkeys(name for found in effects.values() for name in found.values))
        shown = [corruption for corruption in CORRUPTIONS if corruption != NONE]
        figure, axes = panels(1, len(effects), width=11.0, height=1.6 + 0.24 * len(names), sharey=True)
        for ax, (title, found) in zip(axes[0], effects.items(), strict=True):
            _heat_map(ax, np.array([[found.median(name, corruption) for corruption in shown] for name in names]))
            ax.set_xticks(range(len(shown)), shown, rotation=40, ha="right", rotation_mode="anchor")
            ax.set_yticks(range(len(names)), names)
            ax.set_title(title)
        figure.suptitle(
            "deviations of the floor by which each metric calls it worse (red) or better (blue)", fontsize=9
        )
        return figure


def _judge(
    metric: SampleMetric,
    data: Data,
    reals: dict[str, list[Views]],
    generated: dict[str, list[Views]],
    effects: Effects,
    deal: int,
) -> None:
    """Add what a metric says of each corruption of a deal."""
    evaluation = Evaluation([metric], data.known, strict=False)
    for split, views in reals.items():
        evaluation.see_reals(views, split)
    for corruption, views in generated.items():
        for name, value in evaluation.values(views).items():
            more_is_better = MORE_IS_BETTER.get(name, metric.higher_is_better)
            if more_is_better is not None:
                effects.more_is_better[name] = more_is_better
                effects.values.setdefault(name, {}).setdefault(corruption, {})[deal] = value
    effects.left_out |= evaluation.left_out


def claims(effects: dict[str, Effects]) -> Iterator[Row]:
    """What each claim's deviations are, and must be."""
    for (data, corruption), said in CLAIMS.items():
        for verdict, names in said.items():
            for name in names.split():
                moved = effects[data].moved(name, corruption)
                yield Row(f"{data}, {corruption}: {name} {verdict}", moved, **VERDICTS[verdict])


def markdown(effects: Effects) -> str:
    """A table of the floor, and of the median deviations from it; bold where they are seen."""
    shown = [corruption for corruption in CORRUPTIONS if any(corruption in by for by in effects.values.values())]
    shown.remove(NONE)
    lines = [f"| | floor | {' | '.join(shown)} |", "|---|---|" + "---:|" * len(shown)]
    for name in effects.values:
        mean, deviation = effects.floor(name)
        cells = [_cell(effects.median(name, corruption)) for corruption in shown]
        lines.append(f"| `{name}` | {mean:.3g} ± {deviation:.1g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(deviations: float) -> str:
    word = _word(deviations)
    return f"**{word}**" if abs(deviations) >= SEEN else word


def _word(deviations: float) -> str:
    if math.isnan(deviations):
        return ""
    if abs(deviations) >= MOST:
        return "> 99" if deviations > 0 else "< -99"
    return f"{deviations:.0f}" if abs(deviations) >= 9.95 else f"{round(deviations, 1) + 0.0:.1f}"  # no -0.0


def _heat_map(ax: Axes, table: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Red for worse, blue for better, white for what lies within the floor's noise, grey for no value."""
    colours = matplotlib.colormaps["RdBu_r"].with_extremes(bad="0.85")
    ax.imshow(table, cmap=colours, norm=SymLogNorm(SEEN, vmin=-MOST, vmax=MOST), aspect="auto")
    for (i, j), deviations in np.ndenumerate(table):
        ink = "w" if abs(deviations) >= 15 else "k" if abs(deviations) >= SEEN else "0.45"
        ax.text(j, i, _word(deviations).replace(" ", ""), ha="center", va="center", fontsize=6.5, color=ink)
    ax.tick_params(length=0)
    for line, edges in ((ax.axvline, table.shape[1]), (ax.axhline, table.shape[0])):
        for edge in range(1, edges):
            line(edge - 0.5, color="w", lw=0.5)
    ax.spines[:].set_visible(False)
