"""Draws every distribution that the package exports: `python -m docs.pictures.distributions` writes distributions.png.

Each data module is made with its defaults, and some with options that change what they look like; points are held-out
samples, coloured by the mode they were drawn from, black where the truth gives them none. Above three dimensions the
picture is the projection on the axes of greatest and of least variance.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

import datamodules
from datamodules import SyntheticDataModule

COLUMNS, SIZE = 4, 3.0  # panels in a row, inches of one
#: large enough that the points of a mode look like its density
POINTS = 4_000
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "GaussianMixtureDataModule": [{"condition_number": 25.0}],
    "OverlappingMixtureDataModule": [{"arrangement": "line", "modes": 3, "overlap": 0.3}],
}


def distributions() -> list[type[SyntheticDataModule]]:
    """Every exported data module of known distribution that builds its own."""
    exported = (getattr(datamodules, name) for name in datamodules.__all__)
    return [
        cls
        for cls in exported
        if issubclass(cls, SyntheticDataModule) and "truth" not in inspect.signature(cls).parameters
    ]


def projected(x: Tensor) -> Tensor:
    """Samples (N, d) in at most three dimensions."""
    if x.shape[1] <= 3:
        return torch.cat([x, x.new_zeros(len(x), 1)], 1) if x.shape[1] == 1 else x
    axes: Tensor = torch.linalg.eigh(x.T.cov()).eigenvectors[:, [-1, 0]]
    return (x - x.mean(0)) @ axes


def draw(figure: Figure, place: tuple[int, int, int], cls: type[SyntheticDataModule], options: dict[str, Any]) -> None:
    """One distribution in one panel."""
    module = cls(batch_size=1, val_size=POINTS, **options)
    x, labels = module.load("val")
    assert isinstance(x, Tensor)
    assert isinstance(labels, Tensor)
    points = projected(x)
    # neighbouring modes in unlike colours: steps of the golden ratio through the circle of hues
    colours = colormaps["hsv"](((0.618034 * labels) % 1).numpy())
    colours[(module.truth.assign(x) < 0).numpy()] = (0, 0, 0, 1)
    spatial = points.shape[1] == 3
    axes: Any = figure.add_subplot(*place, projection="3d" if spatial else None)
    axes.scatter(*points.T.numpy(), c=colours, s=2, linewidths=0)
    axes.set_aspect("equal", **({} if spatial else {"adjustable": "datalim"}))
    name, d = cls.__name__.removesuffix("DataModule"), module.truth.dimension
    modes = "1 mode" if module.truth.num_modes == 1 else f"{module.truth.num_modes} modes"
    notes = [f"widest and narrowest of {d} axes"] if d > 3 else []
    notes += [f"{key.replace('_', ' ')} {value}" for key, value in options.items() if key != "modes"]
    axes.set_title(f"{name}: {modes}\n" + ", ".join(notes), fontsize=9)
    axes.tick_params(labelsize=7)


def main(out: Path = Path(__file__).parent.parent / "distributions.png") -> None:
    """Draw all of them."""
    panels = [(cls, options) for cls in distributions() for options in [{}, *OPTIONS.get(cls.__name__, [])]]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * SIZE, rows * SIZE), layout="constrained", dpi=110)
    for index, (cls, options) in enumerate(panels, start=1):
        draw(figure, (rows, COLUMNS, index), cls, options)
    figure.savefig(out)


if __name__ == "__main__":
    main()
