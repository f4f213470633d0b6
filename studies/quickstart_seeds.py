"""The quickstart covers every class, far below 4 times the FID floor, without copying, whatever the seed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import binom

from callbacks.metrics import Authenticity
from datamodules import DigitsDataModule
from studies.command_line import command, fit
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SAMPLES = 1197
QUANTILE = 0.01


@dataclass(frozen=True)
class QuickstartSeeds(Study):
    """Train, sample from the checkpoint, and compare with the data, once a seed.

    Attributes:
        jobs: runs at a time, one thread each.
    """

    jobs: int = 1

    FULL: ClassVar[dict[str, Any]] = {"seeds": 10}

    def measure(self, run: Run) -> Findings:
        with ThreadPoolExecutor(self.jobs) as pool:
            runs = pool.map(lambda seed: train(seed, run.out / f"seed-{seed}"), range(self.seeds))
            seeds = list(run.track(runs, "seeds", total=self.seeds))
        measured = {name: [numbers[name] for numbers in seeds] for name in seeds[0]}
        # copies by a one-sided binomial test at 0.1 % a seed: the threshold, of 6 pairs of images, is uncertain itself
        allowed = float(binom.ppf(0.999, SAMPLES, 2 * QUANTILE) / SAMPLES)
        judged = {
            "fid / floor": Row("fid / floor", measured["fid / floor"], 4.0, relation="<="),
            "modes": Row("modes", measured["modes"], 10),
            "rarest class": Row("rarest class", measured["rarest class"], 0.03, relation=">="),
            "copies": Row("copies", measured["copies"], allowed, relation="<="),
        }
        return Findings([judged.get(name, Row(name, values)) for name, values in measured.items()], measured)

    def figure(self, findings: Findings) -> Figure:
        names = ("fid / floor", "rarest class", "mode kl", "copies")
        figure, axes = panels(1, len(names), height=2.6)
        bounds = {row.name: row.expected for row in findings.rows}
        for ax, name in zip(axes[0], names, strict=True):
            ax.plot(findings.data[name], "o", color=COLOURS[0])
            if bounds[name] is not None:
                ax.axhline(bounds[name], color=COLOURS[1], linestyle="--", label="bound")
                ax.legend()
            ax.set(title=name, xlabel="seed", ylim=(0, None), xticks=range(self.seeds))
        return figure


def train(seed: int, root: Path) -> dict[str, float]:
    """Train with ``seed``, sample from the checkpoint, and compare with the data."""
    metrics = fit(CONFIG, root, "--seed_everything", seed)
    command("sample", "--ckpt_path", root, "--n", SAMPLES, "--seed", 0, "--out", root / "samples.npz")
    return {
        "fid": metrics["fid"],
        "fid floor": metrics["fid_floor"],
        "fid / floor": metrics["fid"] / metrics["fid_floor"],
        "modes": metrics["modes"],
        "mode kl": metrics["mode_kl"],
        "rarest class": metrics["mode_share_min"],
        "copies": copies(np.load(root / "samples.npz")["samples"]),
        "seconds": metrics["seconds"],
    }


def copies(samples: np.ndarray) -> float:
    """Share of samples nearer to a training image, in pixels, than all but 1 % of training images are to each other."""
    metric = Authenticity(QUANTILE)
    metric.update(DigitsDataModule(batch_size=1).load("train")[0].flatten(1), real=True)
    metric.update(torch.from_numpy(samples).flatten(1), real=False)
    return float(metric.compute()["copies"])
