"""Modes on a flat torus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import Torus


class TorusDataModule(SyntheticDataModule):
    """A grid of equally weighted modes on the product of two circles, in R^4.

    Args:
        modes: along each circle.
        radii: of both circles.
        tangential_std: of a mode, by coordinate along the circles.
        normal_std: of the distance from each circle.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive; not two radii; modes too wide for the circles.
    """

    def __init__(
        self,
        *,
        modes: int = 4,
        radii: Sequence[float] = (1.0, 1.0),
        tangential_std: float = 0.05,
        normal_std: float = 0.02,
        **kwargs: Any,
    ) -> None:
        super().__init__(Torus(modes, radii, tangential_std, normal_std), **kwargs)
