"""1-Lipschitz functions: the Wasserstein-1 distance."""

from __future__ import annotations

from dataclasses import dataclass, field

from gan_modules.losses.wasserstein import Wasserstein
from gan_modules.penalties import Constraint, GradientPenalty, Penalty


@dataclass(frozen=True)
class Lipschitz(Wasserstein):
    """|f(x) - f(y)| <= |x - y|: the Wasserstein-1 distance (Kantorovich and Rubinstein; Arjovsky et al., 2017, eq. 2).

    Args:
        by: what keeps D in the class: a penalty (GradientPenalty), approximately, or a constraint: Orthonormal and
            SpectralNorm on linear layers, from within; WeightClipping up to a constant that nobody knows.
    """

    by: Penalty | Constraint = field(default=GradientPenalty())

    def __post_init__(self) -> None:
        if not isinstance(self.by, Penalty | Constraint):
            raise TypeError(
                f"Lipschitz(by={self.by!r}): give a Penalty or a Constraint, as GradientPenalty() or Orthonormal(); "
                "Wasserstein() is the loss without any."
            )

    @property
    def penalties(self) -> tuple[Penalty, ...]:  # type: ignore[override]
        return (self.by,) if isinstance(self.by, Penalty) else ()

    @property
    def constraint(self) -> Constraint | None:  # type: ignore[override]
        return self.by if isinstance(self.by, Constraint) else None
