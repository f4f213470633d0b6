"""Time, memory and error of FID, KID and precision, recall, density and coverage against other packages.

    python -m benchmarks.metrics [--samples 10000] [--few 1000] [--features 2048] [--batch 500] [--repeats 3]

Features are made up: rectified mixtures of normal ones, of decaying variance, as those of a network. They come in
batches to the packages that take batches, ours and torchmetrics, and as two matrices to the others. Arms alternate in
one process, so that a busy machine slows all alike; a ratio is how many times as long as ours the reference takes, the
median over repeats with the interval of its order statistics. The load is recorded.

Errors are against float64: of FID relative to numpy's covariances and eigenvalues, of KID absolute, to the U-statistic
of all pairs, and of the four shares absolute, to prdc. Blocks and subsets of samples are estimates of KID themselves,
with the standard error or deviation that the JSON holds. Memory is what a process of its own takes at its peak beyond
the features it is given.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import multiprocessing
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.report import conclude, median_and_interval, peak, seconds, words
from callbacks.metrics import FrechetDistance, KernelDistance, PrecisionRecallDensityCoverage

Arm = Callable[[], dict[str, float]]
PACKAGES = {"torchmetrics": "torchmetrics", "torch-fidelity": "torch_fidelity", "clean-fid": "cleanfid", "prdc": "prdc"}
# the reference that a ratio is promised against, and the ratio, at 10,000 x 2,048 and 1,000 for the few
GOALS = {
    "FID": ("torchmetrics", 2.5),
    "FID, reals cached": ("torchmetrics", 3.4),
    "FID, reals cached, few": ("torch-fidelity", 10.0),
    "KID": ("torchmetrics", 8.0),
    "P/R/D/C": ("prdc", 3.0),
}
SIZE = (10_000, 1_000, 2_048)
NEIGHBOURS = 5


@dataclass(frozen=True)
class Data:
    """Features (n, d) of reals and of generated samples, float32, and the size of the batches they come in."""

    real: Tensor
    fake: Tensor
    batch: int

    @classmethod
    def made_up(cls, samples: int, features: int, batch: int) -> Data:
        """As many of both, different in mean and spread."""
        generator = torch.Generator().manual_seed(0)
        mixing = torch.randn(features, features, generator=generator) * torch.logspace(0, -1.5, features)
        sides = [torch.randn(samples, features, generator=generator) @ mixing.T / features**0.5 for _ in range(2)]
        return cls((1 + 2 * sides[0]).relu(), (1.05 + 2.1 * sides[1]).relu(), batch)


class Identity(nn.Module):
    """The extractor that torchmetrics is given."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """The features themselves."""
        return features


def updated(metric: Any, data: Data, names: tuple[str, ...], cached: bool = False) -> Arm:
    """The values by name of a metric that is reset and updated; where cached, it has seen the reals once before."""
    for part in torch.split(data.real, data.batch) if cached else ():
        metric.update(part, real=True)

    def arm() -> dict[str, float]:
        metric.reset()
        for rows, real in ((data.fake, False),) if cached else ((data.real, True), (data.fake, False)):
            for part in torch.split(rows, data.batch):
                metric.update(part, real=real)
        value = metric.compute()
        values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        return dict(zip(names, map(float, values), strict=True))

    return arm


def statistics(rows: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance as clean-fid has them of float32 features."""
    return np.mean(rows.numpy(), axis=0), np.cov(rows.numpy(), rowvar=False)


def exact_fid(data: Data) -> dict[str, float]:
    """With numpy, all in float64."""
    (m1, s1), (m2, s2) = statistics(data.real.double()), statistics(data.fake.double())
    n, d = data.fake.shape
    if n > d:
        values = np.linalg.eigvals(s1 @ s2)
    else:  # S2 = Z^T Z, and S1 Z^T Z has the eigenvalues of Z S1 Z^T but for zeros
        z = (data.fake.double().numpy() - m2) / (n - 1) ** 0.5
        values = np.linalg.eigvalsh(z @ s1 @ z.T)
    root = np.sqrt(values.astype(complex)).real.sum()
    return {"fid": float(((m1 - m2) ** 2).sum() + s1.trace() + s2.trace() - 2 * root)}


def exact_kid(data: Data) -> dict[str, float]:
    """The U-statistic of all pairs, in float64."""

    def mean(x: Tensor, y: Tensor) -> float:
        sums = [(part.double() @ y.double().T).div_(y.shape[1]).add_(1).pow_(3).sum() for part in torch.split(x, 1000)]
        own = (x.double().square().sum(1) / x.shape[1] + 1).pow(3).sum() if x is y else 0
        return float((sum(sums) - own) / (len(x) * (len(y) - (x is y))))

    real, fake = data.real, data.fake
    return {"kid": mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)}


def fid_arms(data: Data, cached: bool) -> dict[str, Callable[[], Arm]]:
    """By package, a function that makes its arm."""

    def torchmetrics() -> Arm:
        made = importlib.import_module("torchmetrics.image.fid").FrechetInceptionDistance
        identity = Identity(data.real.shape[1])
        return updated(made(identity, reset_real_features=not cached), data, ("fid",), cached)

    def of_statistics(made: Callable[[Tensor], Any], distance: Callable[[Any, Any], float]) -> Arm:
        known = made(data.real) if cached else None
        return lambda: {"fid": distance(made(data.real) if known is None else known, made(data.fake))}

    def torch_fidelity() -> Arm:
        fid = importlib.import_module("torch_fidelity.metric_fid")
        return of_statistics(
            fid.fid_features_to_statistics,
            lambda one, other: fid.fid_statistics_to_metric(one, other, False)["frechet_inception_distance"],
        )

    def clean_fid() -> Arm:
        distance = importlib.import_module("cleanfid.fid").frechet_distance
        return of_statistics(statistics, lambda one, other: float(distance(*one, *other)))

    return {
        "ours": lambda: updated(FrechetDistance(reset_real_features=not cached), data, ("fid",), cached),
        "torchmetrics": torchmetrics,
        "torch-fidelity": torch_fidelity,
        "clean-fid": clean_fid,
    }


def kid_arms(data: Data) -> dict[str, Callable[[], Arm]]:
    """By package, a function that makes its arm: 100 subsets of 1,000 samples but for ours."""
    size = min(1_000, len(data.fake))

    def torchmetrics() -> Arm:
        made = importlib.import_module("torchmetrics.image.kid").KernelInceptionDistance
        return updated(made(Identity(data.real.shape[1]), subset_size=size), data, ("kid", "kid_std"))

    def torch_fidelity() -> Arm:
        kid = importlib.import_module("torch_fidelity.metric_kid").kid_features_to_metric
        names = {"kernel_inception_distance_mean": "kid", "kernel_inception_distance_std": "kid_std"}
        return lambda: {
            names[name]: value for name, value in kid(data.fake, data.real, kid_subset_size=size, verbose=False).items()
        }

    def clean_fid() -> Arm:
        distance = importlib.import_module("cleanfid.fid").kernel_distance
        return lambda: {"kid": distance(data.real.numpy(), data.fake.numpy())}

    return {
        "ours": lambda: updated(KernelDistance(), data, ("kid", "kid_error")),
        "torchmetrics": torchmetrics,
        "torch-fidelity": torch_fidelity,
        "clean-fid": clean_fid,
    }


def prdc_arms(data: Data) -> dict[str, Callable[[], Arm]]:
    """By package, a function that makes its arm; torch-fidelity has precision and recall alone."""
    names = ("precision", "recall", "density", "coverage")

    def prdc() -> Arm:
        made = importlib.import_module("prdc").compute_prdc
        return lambda: made(data.real.numpy(), data.fake.numpy(), nearest_k=NEIGHBOURS)

    def torch_fidelity() -> Arm:
        made = importlib.import_module("torch_fidelity.metric_prc").prc_features_to_metric

        def arm() -> dict[str, float]:
            values = made(data.real, data.fake, prc_neighborhood=NEIGHBOURS, verbose=False)
            return {name: float(values[name]) for name in names[:2]}

        return arm

    return {
        "ours": lambda: updated(PrecisionRecallDensityCoverage(NEIGHBOURS), data, names),
        "torch-fidelity": torch_fidelity,
        "prdc": prdc,
    }


def arms_of(case: str, data: Data, few: int) -> dict[str, Callable[[], Arm]]:
    """The installed packages' arms of a case."""
    if case == "KID":
        arms = kid_arms(data)
    elif case == "P/R/D/C":
        arms = prdc_arms(data)
    else:
        arms = fid_arms(with_few(data, few) if case.endswith("few") else data, cached="cached" in case)
    return {name: made for name, made in arms.items() if name == "ours" or find_spec(PACKAGES[name])}


def with_few(data: Data, few: int) -> Data:
    """The same reals, and the first of the generated samples."""
    return Data(data.real, data.fake[:few], data.batch)


def errors(case: str, values: dict[str, dict[str, float]], data: Data, few: int) -> dict[str, float]:
    """By arm, how far its values are from the exact ones, or from prdc's."""
    if case == "P/R/D/C":
        exact = values.get("prdc", {})
    elif case == "KID":
        exact = exact_kid(data)
    else:
        exact = exact_fid(with_few(data, few) if case.endswith("few") else data)
    scale = exact.get("fid", 1)
    return {
        arm: max((abs(value[name] - exact[name]) / scale for name in value if name in exact), default=float("nan"))
        for arm, value in values.items()
    }


def measure(case: str, data: Data, few: int, repeats: int) -> list[dict[str, Any]]:
    """Of every arm: seconds, their ratio to ours, the values, and their error."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # prdc prints
        warnings.simplefilter("ignore")
        arms = {name: made() for name, made in arms_of(case, data, few).items()}
        values = {name: dict(arm()) for name, arm in arms.items()}  # which warms up
        times: dict[str, list[float]] = {name: [] for name in arms}
        for _ in range(repeats):
            for name, arm in arms.items():
                times[name].append(seconds(arm))
    far = errors(case, values, data, few)
    ours = np.array(times["ours"])
    return [
        {
            "case": case,
            "arm": name,
            "seconds": float(np.median(times[name])),
            "ratio": median_and_interval(np.array(times[name]) / ours),
            "error": far[name],
            "values": {key: float(value) for key, value in values[name].items()},
        }
        for name in arms
    ]


def memory(case: str, arm: str, samples: int, features: int, batch: int, few: int, threads: int) -> float:
    """Bytes that an arm takes at its peak beyond the features, in this process."""
    torch.set_num_threads(threads)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        made = arms_of(case, Data.made_up(samples, features, batch), few)[arm]()
        warm = arms_of(case, Data.made_up(50, features, batch), few)[arm]()
        warm()  # libraries are loaded
        return peak(made)


def alone(work: Callable[..., Any], *args: Any) -> Any:
    """What work gives in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, args)


def main() -> int:
    """Time every case; 1 where a ratio is below its goal at the size it was promised for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in zip(("--samples", "--few", "--features"), SIZE, strict=True):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    console, load = Console(width=120), os.getloadavg()[0]
    for package in (name for name, module in PACKAGES.items() if not find_spec(module)):
        console.print(f"[bold red]{package} is not installed, and its rows are left out: pip install '.[bench]'")
    data = Data.made_up(args.samples, args.features, args.batch)
    rows = [row for case in args.cases for row in measure(case, data, args.few, args.repeats)]
    sizes = (args.samples, args.features, args.batch, args.few, torch.get_num_threads())
    for row in rows:
        if row["case"] == "P/R/D/C":
            row["memory"] = alone(memory, row["case"], row["arm"], *sizes)
    table = Table("case", "arm", "seconds", "times ours", "goal", "value", "error", "memory, GiB")
    missed = False
    for row in rows:
        reference, goal = GOALS[row["case"]]
        promised = reference == row["arm"] and (args.samples, args.few, args.features) == SIZE
        missed |= promised and row["ratio"][0] < goal
        table.add_row(
            row["case"],
            row["arm"],
            f"{row['seconds']:.3f}",
            words(row["ratio"]),
            f"{goal:g}" if promised else "",
            f"{next(iter(row['values'].values())):.5g}",
            f"{row['error']:.1e}",
            f"{row['memory'] / 2**30:.2f}" if "memory" in row else "",
        )
    console.print(table)
    versions = {name: version(name) for name, module in PACKAGES.items() if find_spec(module)}
    settings = {name: getattr(args, name) for name in ("samples", "few", "features", "batch", "repeats")}
    conclude(console, rows, load, args.json, **settings, **versions)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
