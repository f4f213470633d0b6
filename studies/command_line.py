"""Runs of `gan-modules` as a user makes them, each a process of one thread."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path


def command(*args: object) -> None:
    """`gan-modules ARGS`, quiet, on one thread."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [sys.executable, "-m", "gan_modules", *map(str, args)], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"gan-modules {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")


def fit(recipe: Path, root: Path, *args: object) -> dict[str, float]:
    """Train by a recipe into ``root``: the last value of everything it logs, and "seconds".

    A run that is done with the same recipe and arguments is not repeated, and one that was stopped goes on.
    """
    asked = {"recipe": recipe.read_text(), "args": list(map(str, args))}
    record = root.with_name(f"{root.name}.json")  # beside it, for an earlier run's directory is moved away
    known = json.loads(record.read_text()) if record.exists() else {}
    if known.get("asked") == asked and "logged" in known:
        return dict(known["logged"])
    same = known.get("asked") == asked and (root / "checkpoints" / "last.ckpt").exists()
    started = time.monotonic()
    where = ["--trainer.default_root_dir", root, "--trainer.enable_progress_bar", "false"]
    if not same:
        root.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"asked": asked}))
    command("fit", "--config", recipe, *where, *args, *(["--ckpt_path", "last"] if same else []))
    seconds = time.monotonic() - started
    metrics = {}
    for path in sorted(root.glob("metrics/version_*/metrics.csv"), key=os.path.getmtime):
        for row in csv.DictReader(path.open()):
            metrics |= {name: float(value) for name, value in row.items() if value}
    metrics["seconds"] = seconds
    record.write_text(json.dumps({"asked": asked, "logged": metrics}))
    return metrics
