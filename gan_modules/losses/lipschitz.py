"""1-Lipschitz functions: the Wasserstein-1 distance."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from gan_modules.losses.function_class import FunctionClass
from gan_modules.penalties import Constraint, GradientPenalty, Penalty


@dataclass(frozen=True)
class Lipschitz(FunctionClass):
    """|f(x) - f(y)| <= |x - y|: the Wasserstein-1 distance (Kantorovich and Rubinstein; Arjovsky et al., 2017, eq. 2).

    Args:
        by: what keeps D in the class: a penalty (GradientPenalty), approximately, or a constraint: Orthonormal and
            SpectralNorm on linear layers, from within; WeightClipping up to a constant that nobody knows.
    """

    needs_bounded_slope: ClassVar[bool] = True

    by: Penalty | Constraint = field(default=GradientPenalty())

    @property
    def penalties(self) -> tuple[Penalty, ...]:  # type: ignore[override]
        return (self.by,) if isinstance(self.by, Penalty) else ()

    @property
    def constraint(self) -> Constraint | None:  # type: ignore[override]
        return self.by if isinstance(self.by, Constraint) else None
