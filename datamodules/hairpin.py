"""The hairpin on which critics that measure straight through a gap are shown for what they are."""

from __future__ import annotations

from typing import Any

from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import Hairpin


class HairpinDataModule(SyntheticDataModule):
    """Two sheets at a distance of `gap`, joined by a bend, with modes on each; labels are modes in order of arc length.

    Args:
        modes: on each sheet.
        length: of a sheet.
        gap: between the sheets.
        tangential_std: of a mode along the curve.
        normal_std: of the noise off the curve; gap / 12, a sixth of the reach, where None.
        unrolled: lay the curve out on a straight line, with the same modes and noise: the flat control.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: a number that is not positive; modes too wide for the curve.
    """

    def __init__(
        self,
        *,
        modes: int = 8,
        length: float = 4.0,
        gap: float = 0.5,
        tangential_std: float = 0.03,
        normal_std: float | None = None,
        unrolled: bool = False,
        **kwargs: Any,
    ) -> None:
        normal_std = gap / 12 if normal_std is None else normal_std
        truth = Hairpin(modes, length, gap, tangential_std, normal_std)
        super().__init__(truth.unrolled() if unrolled else truth, **kwargs)
