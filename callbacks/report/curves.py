"""How a run went: what it logged, by name."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

#: iterations and values of one logged name
Curve = tuple[list[int], list[float]]


def of_observations(observations: Sequence[tuple[int, Mapping[str, float]]]) -> dict[str, Curve]:
    """Curves of (iteration, values) pairs, oldest first; what is not finite is left out."""
    curves: dict[str, Curve] = {}
    for iteration, values in observations:
        for name, value in values.items():
            if math.isfinite(value):
                iterations, numbers = curves.setdefault(name, ([], []))
                iterations.append(iteration)
                numbers.append(value)
    return curves


def of_directory(root: Path, until: int) -> dict[str, Curve]:
    """Curves up to an iteration from ``metrics/version_*/metrics.csv`` in a run's directory; none where there is none.

    A run that was continued has several versions; of an iteration that two of them have, the later one counts.
    """
    points: dict[str, dict[int, float]] = {}
    paths = [path for path in root.glob("metrics/version_*/metrics.csv") if path.parent.name[8:].isdigit()]
    for path in sorted(paths, key=lambda path: int(path.parent.name[8:])):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                _read(row, points, until)
    curves = {}
    for name, values in points.items():
        iterations = sorted(values)
        curves[name] = iterations, [values[i] for i in iterations]
    return curves


def _read(row: Mapping[str, str | None], points: dict[str, dict[int, float]], until: int) -> None:
    try:
        iteration = int(row["step"] or "") + 1  # steps count from 0
    except (KeyError, ValueError):
        return
    for name, text in row.items():
        if iteration <= until and name not in ("step", "epoch", None) and isinstance(text, str) and text:
            try:
                value = float(text)
            except ValueError:
                continue
            if math.isfinite(value):
                points.setdefault(name, {})[iteration] = value
