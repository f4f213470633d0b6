"""The zero-centred gradient penalty on generated data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gan_modules.penalties.zero_centred import ZeroCentred


@dataclass(frozen=True)
class R2(ZeroCentred):
    """(gamma / 2) E ||grad D(G(z))||^2 over fakes (Mescheder, Geiger and Nowozin, 2018, eq. 10).

    Args:
        gamma: weight, on the same scale as in R1; "auto" likewise.
    """

    at: ClassVar[Literal["real", "fake"]] = "fake"
