"""No whitening."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from typing_extensions import Self

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments
from datamodules.whitening.report import WhiteningReport


class Identity(Whitening):
    """Leaves every sample as it is, at no cost: there is nothing to fit, and the very same tensor is returned."""

    @property
    def shape(self) -> None:
        """Every shape is mapped."""

    def fit(self, stream: Iterable[Tensor], *, sharded: bool = False) -> Self:
        """Return self; the stream is not read."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x

    def inverse(self, y: Tensor) -> Tensor:
        """Return y itself."""
        return y

    def report(self) -> WhiteningReport:
        """Nothing changes: log-determinant 0, whatever the data."""
        return WhiteningReport(log_determinant=0.0)

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        return {}

    def _operators(self) -> tuple[Tensor, ...]:
        return ()

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        return x

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        return y
