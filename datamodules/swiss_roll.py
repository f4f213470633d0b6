"""Modes on a swiss roll."""

from __future__ import annotations

from typing import Any

from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import SwissRoll


class SwissRollDataModule(SyntheticDataModule):
    """A grid of equally weighted modes on a swiss roll in R^3, 89.37 scale long, with turns 2 pi scale apart.

    Args:
        modes: along the spiral.
        rows: along the height.
        height: in units of the data; 21 times the scale is customary.
        scale: of the spiral; 1 has samples up to 14 from the axis, which is much for a network.
        tangential_std: of a mode, by coordinate along the roll.
        normal_std: of the noise off the roll.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive; modes too wide for the roll.
    """

    def __init__(
        self,
        *,
        modes: int = 10,
        rows: int = 2,
        height: float = 2.1,
        scale: float = 0.1,
        tangential_std: float = 0.06,
        normal_std: float = 0.03,
        **kwargs: Any,
    ) -> None:
        super().__init__(SwissRoll(modes, rows, height, scale, tangential_std, normal_std), **kwargs)
