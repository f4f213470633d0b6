"""The quickstart over several seeds: quality, modes, copies of training images, and time.

    python -m studies.quickstart_seeds [--seeds 5] [--jobs 1] [--out runs/quickstart-seeds]

Fails (exit status 1) where a seed misses a class, gives one less than 3 % of the samples, scores more than 4 times the
real-to-real floor, or copies training images more often than held-out digits resemble them by chance.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binom, t

from callbacks.metrics import CopyRate
from datamodules import DigitsDataModule

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SAMPLES = 1197
QUANTILE = 0.01
LIMITS = {"fid / floor": 4.0, "modes": 10, "rarest class": 0.03}


def command(*args: object) -> None:
    """`gan-modules ARGS`, quiet, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "gan_modules", *map(str, args)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"gan-modules {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")


def measure(seed: int, out: Path) -> dict[str, float]:
    """Train with ``seed``, sample from the checkpoint, and compare with the data."""
    root = out / f"seed-{seed}"
    load = os.getloadavg()[0]
    started = time.monotonic()
    command("fit", "--config", CONFIG, "--seed_everything", seed, "--trainer.default_root_dir", root,
            "--trainer.enable_progress_bar", "false")  # fmt: skip
    seconds = time.monotonic() - started
    metrics: dict[str, float] = {}
    newest = max(root.glob("metrics/version_*/metrics.csv"), key=os.path.getmtime)
    for row in csv.DictReader(newest.open()):
        metrics |= {name: float(value) for name, value in row.items() if value}
    command("sample", "--ckpt_path", root, "--n", SAMPLES, "--seed", 0, "--out", root / "samples.npz")
    return {
        "seed": seed,
        "fid": metrics["fid"],
        "fid floor": metrics["fid_floor"],
        "fid / floor": metrics["fid"] / metrics["fid_floor"],
        "modes": metrics["modes"],
        "mode kl": metrics["mode_kl"],
        "rarest class": metrics["mode_share_min"],
        "copies": copies(np.load(root / "samples.npz")["samples"]),
        "seconds": seconds,
        "load before": load,
    }


def copies(samples: np.ndarray) -> float:
    """Share of samples nearer to a training image, in pixels, than all but 1 % of the held-out images are."""
    data = DigitsDataModule(batch_size=1)
    held_out = torch.cat([data.load("val")[0], data.load("test")[0]])
    metric = CopyRate(data.load("train")[0], held_out, QUANTILE)
    metric.update(torch.from_numpy(samples))
    return float(metric.compute())


def verdict(rows: list[dict[str, float]]) -> list[str]:
    """What a seed fails in; copies are judged by a one-sided binomial test at 0.1 % a seed."""
    allowed = binom.ppf(0.999, SAMPLES, 2 * QUANTILE) / SAMPLES  # the 1 % quantile of 600 rows is itself uncertain
    failures = []
    for row in rows:
        bad = [name for name, limit in LIMITS.items() if (row[name] > limit if "fid" in name else row[name] < limit)]
        bad += ["copies"] if row["copies"] > allowed else []
        failures += [f"seed {row['seed']:.0f}: {name} = {row[name]:.4g}" for name in bad]
    return failures


def show(rows: list[dict[str, float]], console: Console) -> None:
    """The table, and each column's mean with its 95 % interval."""
    names = list(rows[0])
    table = Table(*names, title="quickstart")
    for row in rows:
        table.add_row(*(f"{row[name]:.3g}" for name in names))
    values = {name: np.array([row[name] for row in rows]) for name in names[1:]}
    half = t.ppf(0.975, max(len(rows) - 1, 1)) / len(rows) ** 0.5
    table.add_section()
    table.add_row(
        "mean", *(f"{v.mean():.3g} ± {half * v.std(ddof=1):.2g}" if len(v) > 1 else "" for v in values.values())
    )
    console.print(table)


def main() -> int:
    """Run the study; 0 where every seed holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart-seeds"))
    args = parser.parse_args()
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = pool.map(lambda seed: measure(seed, args.out), range(args.seeds))
        rows = list(track(runs, total=args.seeds, description="seeds"))
    console = Console(width=150)
    show(rows, console)
    failures = verdict(rows)
    record: dict[str, Any] = {"rows": rows, "failures": failures, "torch": torch.__version__, "cpus": os.cpu_count()}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(record | {"python": platform.python_version()}, indent=2))
    console.print("\n".join(failures) or "every seed holds")
    return int(bool(failures))


if __name__ == "__main__":
    raise SystemExit(main())
