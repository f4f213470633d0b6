"""Time and memory of fitting each whitening, against scikit-learn's PCA(whiten=True), in one process.

    python -m benchmarks.whitening [--sizes 60000x1x28x28 20000x3x32x32] [--whitenings ZCAWhitening ...] [--repeats 3]

A fit is all of it: one pass over float32 batches of 256 that accumulates float64 moments, the factorisation, and the
report. The reference gets the same data as one float64 matrix, which it computes in, and its fastest solver for more
samples than dimensions, the eigenvalues of the covariance. Fits and references alternate, so that a busy machine slows
both alike; a ratio is the median over repeats, with the interval of its order statistics. Memory is the process's peak
during a fit beyond what it held before, in float64 matrices of d x d: what `DenseWhitening.matrices` promises where d
is large. At 784 the buffers of a pass, a few times 32 MiB, are more, and what an earlier fit left does not count.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.decomposition import PCA
from torch import Tensor

from benchmarks.report import conclude, median_and_interval, peak, seconds, words
from datamodules.whitening import CholeskyWhitening, FourierWhitening, PCAWhitening, Standardize, ZCAWhitening

ARMS = {arm.__name__: arm for arm in (ZCAWhitening, PCAWhitening, CholeskyWhitening, FourierWhitening, Standardize)}
GOALS = {(60_000, 784): 30.0, (20_000, 3_072): 120.0}  # seconds


def images(n: int, *shape: int) -> Tensor:
    """Noise whose power falls as that of natural images, with the frequency squared: (n, C, H, W) float32."""
    noise = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0))
    height, width = shape[-2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))
    return torch.fft.irfft2(torch.fft.rfft2(noise) / (frequency + 1 / height), s=(height, width))


def measure(size: tuple[int, ...], names: list[str], repeats: int) -> list[dict[str, Any]]:
    """Of every whitening: seconds of a fit and of the reference, their ratio, and peak memory."""
    x = images(*size)
    n, d = len(x), x[0].numel()
    matrix = x.flatten(1).double().numpy()

    def reference() -> Any:
        return PCA(whiten=True, svd_solver="covariance_eigh").fit(matrix)

    rows = []
    for name in track(names, description="x".join(map(str, size))):

        def fit(name: str = name) -> Any:
            return ARMS[name]().fit(x.split(256)).report()

        memory = peak(fit)  # which warms up
        pairs = np.array([(seconds(fit), seconds(reference)) for _ in range(repeats)])
        rows.append(
            {
                "whitening": name,
                "n": n,
                "d": d,
                "seconds": float(np.median(pairs[:, 0])),
                "reference_seconds": float(np.median(pairs[:, 1])),
                "ratio": median_and_interval(pairs[:, 0] / pairs[:, 1]),
                "matrices": memory / (8 * d**2),
            }
        )
    return rows


def main() -> int:
    """Time every whitening at every size; 1 where one is slower than its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["60000x1x28x28", "20000x3x32x32"], help="n x C x H x W")
    parser.add_argument("--whitenings", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    console, load = Console(width=120), os.getloadavg()[0]
    sizes = [tuple(map(int, size.split("x"))) for size in args.sizes]
    rows = [row for size in sizes for row in measure(size, args.whitenings, args.repeats)]
    columns = (
        "samples x coordinates",
        "whitening",
        "fit, s",
        "goal, s",
        "reference, s",
        "ratio",
        "peak, d x d matrices",
    )
    table = Table(*columns, title="fit and report")
    for row in rows:
        goal = GOALS.get((row["n"], row["d"]))
        table.add_row(
            f"{row['n']:,} x {row['d']:,}",
            row["whitening"],
            f"{row['seconds']:.2f}",
            "" if goal is None else f"{goal:g}",
            f"{row['reference_seconds']:.2f}",
            words(row["ratio"]),
            f"{row['matrices']:.1f}",
        )
    console.print(table)
    conclude(console, rows, load, args.json, repeats=args.repeats)
    return int(any(row["seconds"] > GOALS.get((row["n"], row["d"]), float("inf")) for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
