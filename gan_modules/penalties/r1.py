"""The zero-centred gradient penalty on real data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from gan_modules.penalties.zero_centred import ZeroCentred


@dataclass(frozen=True)
class R1(ZeroCentred):
    """(gamma / 2) E ||grad D(x)||^2 over real rows x (Mescheder, Geiger and Nowozin, 2018, eq. 9).

    Args:
        gamma: weight; the eigenvalues of the Dirac-GAN move left by gamma / 2. "auto": 0.0002 height * width / batch.
    """

    at: ClassVar[Literal["real", "fake"]] = "real"
