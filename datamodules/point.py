"""All data at one point: what toy games train on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from datamodules.base import GANDataModule, Split
from datamodules.checks import require_positive


class PointDataModule(GANDataModule):
    """Every sample is the same point: the data of the Dirac-GAN, and a placeholder for games that need no data.

    Args:
        point: its coordinates.
        size: samples of each split.
        **kwargs: those of GANDataModule.

    Raises:
        ValueError: no coordinates, or a size that is not positive.
    """

    def __init__(self, *, point: Sequence[float] = (0.0,), size: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        require_positive(size=size, coordinates=len(point))
        self._point, self._size = tuple(float(x) for x in point), size

    @property
    def shape(self) -> tuple[int, ...]:
        """As many numbers as the point has coordinates."""
        return (len(self._point),)

    @property
    def num_classes(self) -> int | None:
        """No labels."""
        return None

    def load(self, split: Split) -> tuple[Tensor, Tensor | None]:
        """Return the point, (size, d) float32."""
        return torch.tensor([self._point] * self._size), None
