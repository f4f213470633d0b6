"""What every study shares: rows of measured against expected, and a run that tables, draws, records and judges them.

A study is a module ``studies/NAME.py``. The first line of its docstring is the claim, and its one class derived from
``Study``, a frozen dataclass of parameters, measures and draws it::

    \"\"\"The mean of n coin flips is 1/2.\"\"\"

    @dataclass(frozen=True)
    class CoinFlips(Study):
        flips: int = 1000  # parameters, at the size that takes minutes on a laptop

        FULL: ClassVar[dict[str, Any]] = {"flips": 100_000}  # what --full changes

        def measure(self, run: Run) -> Findings:
            means = [mean_of_flips(seed, self.flips) for seed in run.track(range(self.seeds), "seeds")]
            return Findings([Row("mean", means, expected=0.5, tolerance=3 / self.flips**0.5)], means)

        def figure(self, findings: Findings) -> Figure:
            figure, axes = panels(1, 1)
            axes[0, 0].plot(findings.data, "o")
            return figure

``python -m studies`` finds it by itself. Its test (tests/studies/test_NAME.py) runs it at a reduced size, where it must
end with 0, and once more with a sign or constant turned, where it must end with 1.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.stats import t

T = TypeVar("T")

#: colours that the colour-blind can tell apart (Okabe and Ito, 2008), dark enough for lines on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STYLE: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "savefig.dpi": 120,
}


def mean_and_interval(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and half the width of its 95 % interval by Student's t; NaN for a single value."""
    v = np.asarray(values, dtype=float)
    if len(v) < 2:
        return float(v.mean()), math.nan
    return float(v.mean()), float(t.ppf(0.975, len(v) - 1) * v.std(ddof=1) / len(v) ** 0.5)


@dataclass(frozen=True)
class Row:
    """One number or word of a claim, measured against what is expected.

    Attributes:
        name: what is measured.
        measured: a number, a word, or one a seed, each of which must hold.
        expected: what it is measured against; None for what is only reported.
        tolerance: largest |measured - expected| that holds, or by how much a bound may be missed.
        relation: "=", or "<=" and ">=" for a bound.
        on_mean: judge the mean over seeds rather than each.
    """

    name: str
    measured: float | str | Sequence[float] | Sequence[str]
    expected: float | str | None = None
    tolerance: float = 0.0
    relation: Literal["=", "<=", ">="] = "="
    on_mean: bool = False

    @property
    def values(self) -> list[Any]:
        return [self.measured] if isinstance(self.measured, str | int | float) else list(self.measured)

    @property
    def holds(self) -> bool:
        values = [mean_and_interval(self.values)[0]] if self.on_mean else self.values
        return self.expected is None or (bool(values) and all(self._holds(value) for value in values))

    def _holds(self, value: Any) -> bool:
        if isinstance(value, str) or isinstance(self.expected, str):
            return bool(value == self.expected)
        excess = {"=": abs(value - self.expected), "<=": value - self.expected, ">=": self.expected - value}
        return bool(value == self.expected or excess[self.relation] <= self.tolerance)  # NaN holds nothing; inf = inf

    def cells(self) -> tuple[str, str, str, str]:
        """Measured, expected, tolerance and verdict, for the table."""
        verdict = "" if self.expected is None else "holds" if self.holds else "[bold red]FAILS"
        bound = "" if self.relation == "=" else f"{self.relation} "
        expected = "" if self.expected is None else bound + _word(self.expected)
        return self._summary(), expected, _word(self.tolerance) if self.tolerance else "", verdict

    def _summary(self) -> str:
        values = self.values
        if any(isinstance(value, str) for value in values):
            return ", ".join(dict.fromkeys(map(_word, values)))
        mean, half = mean_and_interval(values)
        return _word(mean) + (f" ± {half:.2g}" if half > 1e-6 * abs(mean) else "")  # below: rounding

    def record(self) -> dict[str, Any]:
        return asdict(self) | {"measured": self.values, "holds": self.holds}


@dataclass(frozen=True)
class Findings:
    """What a study measured: its rows, and whatever its figure needs."""

    rows: list[Row]
    data: Any = None

    @property
    def holds(self) -> bool:
        return bool(self.rows) and all(row.holds for row in self.rows)


@dataclass
class Run:
    """What a study is given while it measures: a directory of its own, and a progress bar."""

    out: Path
    progress: Progress = field(default_factory=lambda: Progress(disable=True))

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """The items, with a bar that moves as they are done; ``total`` where they have no length."""
        return self.progress.track(items, total=total, description=description)


@dataclass(frozen=True)
class Study(ABC):
    """A claim that can be run; see the module. Fields are parameters.

    Attributes:
        seeds: how many, from 0 on.
    """

    seeds: int = 5

    FULL: ClassVar[dict[str, Any]] = {}

    @abstractmethod
    def measure(self, run: Run) -> Findings:
        """Measure everything the claim says."""

    def figure(self, findings: Findings) -> Figure | None:
        """Draw it, measured and expected together."""
        return None


def panels(rows: int, columns: int, *, width: float = 9.0, height: float = 3.0, **kwargs: Any) -> tuple[Figure, Any]:
    """A figure of rows x columns axes (an array of that shape), ``height`` inches a row."""
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes: np.ndarray[Any, np.dtype[Any]] = figure.subplots(rows, columns, squeeze=False, **kwargs)
    assert isinstance(axes[0, 0], Axes)
    return figure, axes


def conduct(name: str, study: Study, out: Path, console: Console) -> bool:
    """Run a study, write ``results.json`` and ``figure.png`` to ``out``, print the table; whether its claim holds."""
    out.mkdir(parents=True, exist_ok=True)
    load, started = os.getloadavg()[0], time.monotonic()
    with Progress(console=console, transient=True) as progress:
        findings = study.measure(Run(out, progress))
    seconds = time.monotonic() - started
    record = {
        "study": name,
        "holds": findings.holds,
        "rows": [row.record() for row in findings.rows],
        "parameters": asdict(study),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("torch", "lightning", "numpy", "gan-modules")},
        "machine": {"cpus": os.cpu_count(), "load before": load, "load after": os.getloadavg()[0]},
        "seconds": seconds,
    }
    (out / "results.json").write_text(json.dumps(_finite(record), indent=2))
    with rc_context(STYLE):
        figure = study.figure(findings)
        if figure is not None:
            _save(figure, out / "figure.png")
    table = Table("", "measured", "expected", "tolerance", "", title=name, box=SIMPLE_HEAD)
    for row in findings.rows:
        table.add_row(row.name, *row.cells())
    console.print(table)
    failed = sum(not row.holds for row in findings.rows)
    verdict = "holds" if findings.holds else f"[bold red]FAILS[/] in {failed} of {len(findings.rows)} rows"
    console.print(f"{name} {verdict}; {seconds:.0f} s; {out}/")
    return findings.holds


def _save(figure: Figure, path: Path) -> None:
    """As a PNG of 128 colours, a third of the size."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    Image.open(buffer).convert("RGB").quantize(128).save(path, optimize=True)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.5g}"


def _finite(tree: Any) -> Any:
    """The tree with numbers that JSON can't hold written as words."""
    if isinstance(tree, dict):
        return {str(key): _finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_finite(value) for value in tree]
    if isinstance(tree, float | np.floating):
        return float(tree) if math.isfinite(tree) else str(float(tree))
    return tree if isinstance(tree, str | int | None) else str(tree)
