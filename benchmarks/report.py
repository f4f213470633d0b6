"""What every benchmark ends with: a median with its interval, and a record of the machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from scipy.stats import binom


def median_and_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and its 95 % interval by order statistics."""
    ordered, n = sorted(map(float, values)), len(values)
    low = max(int(binom.ppf(0.025, n, 0.5)) - 1, 0)
    return float(np.median(ordered)), ordered[low], ordered[n - 1 - low]


def words(values: Sequence[float]) -> str:
    """A median with its interval, for a table."""
    median, low, high = values
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def seconds(work: Callable[[], Any]) -> float:
    """How long work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def peak(work: Callable[[], Any]) -> float:
    """Bytes that work adds to the process's memory at its highest (Linux; NaN elsewhere)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest so far
        before = _status("VmRSS")
        work()
        return float(_status("VmHWM") - before)
    except OSError:
        return float("nan")


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def conclude(console: Console, rows: list[dict[str, Any]], load: float, path: Path | None, **settings: Any) -> None:
    """Print the versions, the settings and the machine with its load before; write them with the rows to ``path``."""
    record = {"load before": load, "threads": torch.get_num_threads(), "cpus": os.cpu_count(), **settings}
    record |= {name: version(name) for name in ("torch", "lightning")}
    console.print(record)
    if path:
        path.write_text(json.dumps({"rows": rows} | record, indent=2))
