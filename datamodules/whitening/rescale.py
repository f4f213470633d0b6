"""From [0, 1] to another interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments
from datamodules.whitening.report import WhiteningReport


class Rescale(Whitening):
    """Data in [0, 1] to [low, high]: for generators that end in tanh, and for settings published for such images.

    The end points map to each other exactly, everything between up to rounding. There is nothing to fit: `low` and
    `high` are the state. Noise, augmentation and gradient penalties of training space are scaled with it: the same
    R1 on images in [-1, 1] takes (high - low)^2 = 4 times the gamma that it takes on images in [0, 1].

    Args:
        low: what 0 becomes.
        high: what 1 becomes.

    Raises:
        ValueError: low is not below high, or one of them is not finite.
    """

    statistics: ClassVar[tuple[str, ...]] = ("low", "high")
    low: Tensor
    high: Tensor

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        if not -float("inf") < low < high < float("inf"):
            raise ValueError(f"low must be below high, both finite, got low={low}, high={high}")
        with torch.inference_mode(False):  # inference tensors could never meet autograd later
            self.low = torch.tensor(low, dtype=torch.float64)
            self.high = torch.tensor(high, dtype=torch.float64)

    @property
    def shape(self) -> None:
        """Every shape is mapped."""

    def fit(self, stream: Iterable[Tensor], *, sharded: bool = False) -> Self:
        """Return self; the stream is not read."""
        return self

    def report(self) -> WhiteningReport:
        """One scale for all coordinates: nothing depends on data; d log(high - low) is the log-determinant in d."""
        return WhiteningReport()

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        return {"low": self.low, "high": self.high}

    def _operators(self) -> tuple[Tensor, ...]:
        return self.low, self.high

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        low, high = operators
        return torch.lerp(low, high, x)  # low + (high - low) x, exact at both ends

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        low, high = operators
        return (y - low) / (high - low)
