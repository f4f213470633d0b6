"""Draws digits in every training space, and the filters: `python -m docs.pictures.whitening` writes whitening.png.

A filter is a row of the map's matrix, each weight in units of its pixel's standard deviation: what one whitened
coordinate measures in an image. ZCA's and Fourier's see a pixel less its surroundings, Cholesky's a pixel less what the
earlier ones (above, and to the left) tell about it, PCA's a pattern of the whole image. Each row of images has one grey
scale, symmetric around 0, which is mid-grey; each filter has its own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from datamodules.whitening import (
    CholeskyWhitening,
    FourierWhitening,
    Identity,
    PCAWhitening,
    Standardize,
    Whitening,
    ZCAWhitening,
)

SPACES: dict[str, Whitening] = {
    "raw": Identity(),
    "Standardize": Standardize(),
    "ZCA, power .25": ZCAWhitening(power=0.25),
    "ZCA, power .5": ZCAWhitening(power=0.5),
    "ZCA, power .75": ZCAWhitening(power=0.75),
    "ZCA, power 1": ZCAWhitening(),
    "PCA": PCAWhitening(),
    "Cholesky": CholeskyWhitening(),
    "Fourier": FourierWhitening(),
}
FILTERS = ("ZCA, power .5", "ZCA, power 1", "PCA", "Cholesky", "Fourier")
PIXELS = ((2, 2), (2, 4), (3, 3), (4, 2), (4, 5), (5, 3))  # whose filters are drawn


def digits() -> tuple[Tensor, Tensor]:
    """scikit-learn's digits, (1797, 1, 8, 8) in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return torch.from_numpy(data.images)[:, None] / 16, torch.from_numpy(data.target)


def filters(whitening: Whitening, x: Tensor) -> Tensor:
    """Rows of the map's matrix in units of the pixels' standard deviations, as images (coordinates, H, W)."""
    shape = x.shape[1:]
    corners = x.flatten(1).std(0).diag().view(-1, *shape)
    columns = (whitening(corners) - whitening(torch.zeros_like(corners))).flatten(1)
    return columns.T.reshape(-1, *shape[-2:])


def show(axes: Axes, image: Tensor, bound: Tensor) -> None:
    """One image in grey."""
    axes.imshow(image, cmap="gray", vmin=-bound.item(), vmax=bound.item())
    axes.set_axis_off()


def figure(x: Tensor, labels: Tensor, pixels: tuple[tuple[int, int], ...] = PIXELS) -> Figure:
    """Left, the first image of each class in each training space; right, filters."""
    height, width = x.shape[-2:]
    first = torch.stack([x[labels == label][0] for label in range(10)])
    chosen = torch.tensor([row * width + column for row, column in pixels])
    page = Figure(figsize=(13, 6.8), layout="constrained", facecolor="#f4f4f4")
    left, right = page.subfigures(1, 2, width_ratios=(10, len(pixels) + 0.8))
    left.suptitle("digits in training space")
    right.suptitle("filters: rows of the map, times the pixels' standard deviations")
    panels, filter_panels = left.subplots(len(SPACES), 10), right.subplots(len(FILTERS), len(pixels))
    for row, (name, whitening) in zip(panels, SPACES.items(), strict=True):
        y = whitening.fit(x)(first).view(-1, height, width)
        for axes, image in zip(row, y, strict=True):
            show(axes, image, y.abs().quantile(0.99))
        _label(row[0], name)
    for row, name in zip(filter_panels, FILTERS, strict=True):
        found = filters(SPACES[name], x)
        found = found[: len(pixels)] if name == "PCA" else found[chosen]
        for axes, image in zip(row, found, strict=True):
            show(axes, image, image.abs().max())
        _label(row[0], f"{name}, leading" if name == "PCA" else name)
    return page


def _label(axes: Axes, name: str) -> None:
    axes.text(-0.15, 0.5, name, transform=axes.transAxes, ha="right", va="center", fontsize=9)


if __name__ == "__main__":
    figure(*digits()).savefig(Path(__file__).parents[1] / "whitening.png", dpi=110)
