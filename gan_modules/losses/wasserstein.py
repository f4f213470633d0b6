"""The Wasserstein loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gan_modules.losses.function_class import FunctionClass


@dataclass(frozen=True)
class Wasserstein(FunctionClass):
    """The critic maximises E D(x) - E D(G(z)), the generator minimises it (Arjovsky et al., 2017, eq. 2).

    An estimate of the Wasserstein-1 distance as far as the critic is 1-Lipschitz: a constraint or penalty given beside
    it sees to that; Lipschitz brings its own.
    """

    needs_bounded_slope: ClassVar[bool] = True
