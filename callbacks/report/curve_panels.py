"""Curves of a run, in small panels of what belongs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from callbacks.report.curves import Curve
from callbacks.report.html import Markup
from callbacks.report.pictures import axes, logarithmic, row, thinned, vector


@dataclass(frozen=True)
class Panel:
    """What is drawn into one panel.

    Attributes:
        title: of the panel, with the unit.
        names: logged names, or patterns of them; a name's ``_floor`` is drawn dashed in its colour.
        log: whether the axis is logarithmic, where all values allow it.
        level: where a line is drawn across, such as a limit.
        most: curves drawn, those with the largest last values.
    """

    title: str
    names: Sequence[str]
    log: bool = False
    level: float | None = None
    most: int = 6


PANELS = (
    Panel("losses", ("loss/*",)),
    Panel("D's logits", ("logits/*",)),
    Panel("gradient norms", ("grad_norm/*",), log=True),
    Panel("Frechet distance (FID)", ("fid",), log=True),
    Panel("precision, recall, coverage", ("precision", "recall", "coverage")),
    Panel("modes covered", ("modes",)),
    Panel("effective number of different samples", ("vendi",)),
    Panel("distance of power spectra", ("power_distance",), log=True),
    Panel("distance to the equilibrium", ("distance",), log=True),
    Panel("penalties", ("penalty/*",), log=True),
    Panel("lr / h*", ("game/lr_over_limit",), log=True, level=1.0),
    Panel("growth of a displacement, per iteration", ("game/radius",), level=1.0),
    Panel("signal that reaches the generator", ("health/signal",), log=True),
    Panel("update / weights", ("health/update_ratio/*",), log=True),
    Panel("P(D(real) > D(generated))", ("health/auc/*",), level=0.5),
    Panel("share of dead units", ("health/dead/*",)),
    Panel("largest singular values of layers", ("sigma/*",), log=True),
    Panel("stable rank, smallest over layers", ("weights/*/stable_rank_min",)),
    Panel("largest curvature", ("curvature/*/max",)),
)


def draw_curves(curves: dict[str, Curve]) -> Markup | None:
    """All panels of which something is known; None where there is none."""
    drawn = [panel for i, one in enumerate(PANELS) if (panel := _draw(one, curves, f"curve{i}")) is not None]
    return row(*drawn) if drawn else None


def _draw(panel: Panel, curves: dict[str, Curve], key: str) -> Markup | None:
    names = [
        name
        for pattern in panel.names
        for name in curves
        if fnmatchcase(name, pattern) and not name.endswith("_floor") and not _later(name)
    ]
    names = (
        sorted(names, key=lambda name: -abs(curves[name][1][-1]))[: panel.most] if len(names) > panel.most else names
    )
    if not names or max(len(curves[name][0]) for name in names) < 2:
        return None
    short = _short(names)
    with axes() as (figure, ax):
        lines = []
        for name, label in zip(names, short, strict=True):
            iterations, values = curves[name]
            (line,) = ax.plot(
                thinned(iterations), thinned(values), marker="." if len(values) < 30 else None, label=label
            )
            lines.append(line)
            if floor := curves.get(f"{name}_floor"):
                ax.axhline(floor[1][-1], color=line.get_color(), linestyle="--", linewidth=1)
        if panel.level is not None:
            ax.axhline(panel.level, color="0", linestyle=":", linewidth=1)
        if panel.log and all(value > 0 for name in names for value in curves[name][1]):
            ax.set_yscale("log")
            logarithmic(ax.yaxis)
        ax.set_title(panel.title, loc="left")
        ax.set_xlabel("iteration")
        if len(names) > 1:
            figure.legend(handles=lines, loc="outside lower center", ncols=2 if max(map(len, short)) < 24 else 1)
        last = [f"{curves[name][1][-1]:.4g}" for name in names]
        if len(names) > 1:
            last = [f"{label} {value}" for label, value in zip(short, last, strict=True)]
        floors = any(f"{name}_floor" in curves for name in names)
        caption = f"Last: {', '.join(last)}." + (" Dashed: real samples." if floors else "")
        first, end = min(curves[name][0][0] for name in names), max(curves[name][0][-1] for name in names)
        return vector(figure, key, f"Curves of {panel.title} from iteration {first} to {end}. {caption}", caption)


def _later(name: str) -> bool:
    """Whether it is a layer's second singular value, or a later one."""
    return name.startswith("sigma/") and name.count("/") > 1


def _short(names: Sequence[str]) -> list[str]:
    """The names without the parts that all share."""
    split = [name.split("/") for name in names]
    while len(names) > 1 and all(len(parts) > 1 and parts[0] == split[0][0] for parts in split):
        split = [parts[1:] for parts in split]
    while len(names) > 1 and all(len(parts) > 1 and parts[-1] == split[0][-1] for parts in split):
        split = [parts[:-1] for parts in split]
    return ["/".join(parts) for parts in split]
