"""Samples beside real ones: images, points, or numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from callbacks.report.html import Markup, tag
from callbacks.report.pictures import BLUE, ORANGE, axes, image, row, vector
from callbacks.sample_grid import image_grid

#: pixels of a grid's images together, so that a page of large ones stays small
_PIXELS = 200_000
_POINTS = 1000


def draw_samples(samples: Tensor, reals: Tensor | None) -> Markup:
    """Generated samples (N, *shape), and held-out ones beside or beneath them."""
    finite = samples.flatten(1).isfinite().all(1)
    if not finite.any():
        return tag("p", "No sample is finite.", class_="soft")
    samples = samples[finite]
    if samples.ndim == 4:
        return _images(samples, reals)
    if samples.ndim == 2 and samples.shape[1] == 1:
        return _numbers(samples, reals)
    if samples.ndim == 2:
        return _points(samples, reals)
    return tag("p", f"Samples of shape {tuple(samples.shape[1:])} have no picture.", class_="soft")


def _images(samples: Tensor, reals: Tensor | None) -> Markup:
    height, width = samples.shape[2:]
    n = max(4, min(64, _PIXELS // (height * width)))
    columns = max(2, int(n**0.5))

    def grid(images: Tensor, what: str) -> Markup:
        shown = images[: n // columns * columns].float()
        shown = shown if shown.shape[1] in (1, 3) else shown[:, :1]
        words = f"{len(shown)} {what}"
        return image(image_grid(shown, columns), f"A grid of {words}, {height} x {width} pixels", words)

    given = [grid(samples, "generated images")]
    return row(*given, *([] if reals is None else [grid(reals, "held-out real images")]))


def _points(samples: Tensor, reals: Tensor | None) -> Markup:
    x, y = samples[:_POINTS].double().cpu(), None if reals is None else reals[:_POINTS].double().cpu()
    labels, dimension = ("x", "y"), x.shape[1]
    if dimension > 2:
        base = x if y is None else y
        center = base.mean(0)
        directions = torch.linalg.svd(base - center, full_matrices=False)[2][:2].T
        x, y = (x - center) @ directions, None if y is None else (y - center) @ directions
        labels = ("first principal direction of the data", "second")
    with axes(height=4.0) as (figure, ax):
        if y is not None:
            ax.scatter(
                *y.T, s=36, marker="o", color=BLUE, alpha=0.25, linewidths=0, label="held-out data", rasterized=True
            )
        ax.scatter(*x.T, s=7, marker="x", color=ORANGE, alpha=0.8, linewidths=0.7, label="samples", rasterized=True)
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_xlabel(labels[0])
        ax.set_ylabel(labels[1])
        figure.legend(loc="outside lower center", ncols=2, markerscale=1.5)
        words = "Generated points over held-out data" + (
            f", of {dimension} dimensions the two widest" if dimension > 2 else ""
        )
        return row(vector(figure, "samples", words, f"{words}; {len(x)} of each at most."))


def _numbers(samples: Tensor, reals: Tensor | None) -> Markup:
    x = samples[:_POINTS, 0].double().cpu()
    y = None if reals is None else reals[:_POINTS, 0].double().cpu()
    everything = x if y is None else torch.cat([x, y])
    low, high = float(everything.min()), float(everything.max())
    room = 0.05 * (high - low) or 0.5 * max(1.0, abs(high))
    bins = torch.linspace(low - room, high + room, 41).tolist()
    words = f"Generated numbers, mean {float(x.mean()):.4g}, standard deviation {float(x.std(correction=0)):.4g}"
    if y is not None:
        words += f"; held-out data {float(y.mean()):.4g}, {float(y.std(correction=0)):.4g}"
    with axes() as (figure, ax):
        if y is not None:
            ax.hist(y, bins, density=True, color=BLUE, alpha=0.5, label="held-out data")
        ax.hist(x, bins, density=True, histtype="step", color=ORANGE, linewidth=1.8, label="samples")
        ax.set_xlabel("value")
        ax.set_ylabel("density")
        figure.legend(loc="outside lower center", ncols=2)
        return row(vector(figure, "samples", words, f"{words}."))


def draw_modes(generated: list[float], real: list[float]) -> Markup:
    """Shares of generated and of real samples in each mode."""
    lost = [i for i, (g, r) in enumerate(zip(generated, real, strict=True)) if g < 0.2 * r]
    outside = max(0.0, 1 - sum(generated))
    words = f"{len(real) - len(lost)} of {len(real)} modes have at least a fifth of their share in the data"
    words += f"; missing: {', '.join(map(str, lost[:20]))}{', ...' if len(lost) > 20 else ''}" if lost else ""
    words += f". {100 * outside:.3g} % of the samples are in no mode" if outside > 5e-4 else ""
    with axes() as (figure, ax):
        place = torch.arange(len(real)).double().numpy()
        ax.bar(place - 0.2, real, 0.4, color=BLUE, label="data")
        ax.bar(place + 0.2, generated, 0.4, color=ORANGE, label="samples")
        ax.set_xlabel("mode")
        ax.set_ylabel("share")
        ax.grid(axis="x", visible=False)
        if len(real) <= 12:
            ax.set_xticks(place, [str(i) for i in range(len(real))])
        figure.legend(loc="outside lower center", ncols=2)
        return row(vector(figure, "modes", words, f"{words}."))
