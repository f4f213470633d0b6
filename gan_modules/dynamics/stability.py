"""Will this rule converge at these learning rates, and how far can they be raised?"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from gan_modules.batch import GameBatch
from gan_modules.dynamics.arnoldi import MAX_VECTORS, Ritz, arnoldi
from gan_modules.dynamics.matrix_jacobian import MatrixJacobian, dense, times
from gan_modules.dynamics.operator import UpdateOperator
from gan_modules.dynamics.spectrum import as_jacobian, converged_tolerance
from gan_modules.protocols import Game, Jacobian

Verdict = Literal["stable", "neutral", "unstable", "unstable at any rate"]
Kind = Literal["Neimark-Sacker", "flip", "real"]

#: operators up to this size are taken whole, and their eigenvalues are exact
DENSE_SIZE = 256
#: learning rates are searched from 2^-20 to 2^20 of the present ones
_OCTAVES = 20


class OperatorRule(Protocol):
    """What is needed of an update rule: the linear map of its update."""

    def operator(self, jacobian: Jacobian, optimizers: Sequence[Optimizer]) -> UpdateOperator: ...


@dataclass(frozen=True)
class Stability:
    """What becomes of a small displacement from where the players are, taken for an equilibrium.

    Attributes:
        verdict: "stable" at the present learning rates; "neutral", neither growing nor shrinking; "unstable" at these
            and stable at lower ones; "unstable at any rate".
        radius: largest modulus per iteration among the multipliers that are neither null nor unresolved.
        limit: the largest stable multiple of the present learning rates, where one was found: lr / h* is 1 / limit.
        kind: how stability is lost at the limit: "Neimark-Sacker" (a cycle sets in), "flip" (the sign changes at every
            step), or "real" (a drift).
        binding: the multiplier that loses it, at the limit; or the one that grows, where no rate is stable.
        period: iterations of a turn of the binding multiplier; infinite where it does not turn.
        multipliers: eigenvalues of the update at the present rates, per period of the rule, largest first.
        multiplier_residuals: their residuals.
        exponents: eigenvalues of the preconditioned field (rate x J), per iteration, largest modulus first: Re is
            growth, Im rotation.
        exponent_residuals: their residuals.
        rotation: abs(Im) / abs of the leading exponent: 0 pure attraction or repulsion, 1 pure rotation.
        null: how many multipliers stand still (modulus of the exponent below tolerance); reported apart.
        resolved: whether the slow part of the spectrum is known too; where it is not, slower motions than those
            listed exist, and only the fast ones are judged.
        direction: the displacement that grows, a unit vector over both players, where one does.
        products: products with the game's Jacobian that the answer took.
    """

    verdict: Verdict
    radius: float
    limit: float | None
    kind: Kind | None
    binding: complex | None
    period: float
    multipliers: Tensor
    multiplier_residuals: Tensor
    exponents: Tensor
    exponent_residuals: Tensor
    rotation: float
    null: int
    resolved: bool
    direction: Tensor | None
    products: float

    @property
    def time_to_converge(self) -> float:
        """Iterations in which the slowest displacement that is judged shrinks by a factor e; infinite if none does."""
        return -1 / math.log(self.radius) if 0 < self.radius < 1 else (0.0 if self.radius == 0 else math.inf)

    @property
    def lr_over_limit(self) -> float:
        """The ratio lr / h*: above 1 the update is unstable; infinite where no rate is stable, 0 where all are."""
        if self.limit is None:
            return math.inf if self.verdict.startswith("unstable") else math.nan
        return 1 / self.limit

    def __str__(self) -> str:
        words = {
            "stable": f"stable: a displacement shrinks by {self.radius:.10g} an iteration, e-fold in "
            f"{self.time_to_converge:.3g} iterations",
            "neutral": "neutral: a displacement neither grows nor shrinks",
            "unstable": f"unstable at these learning rates: a displacement grows by {self.radius:.6g} an iteration",
            "unstable at any rate": f"unstable at any learning rate: a displacement grows by {self.radius:.6g} an "
            "iteration, and lower rates only slow it",
        }[self.verdict]
        if self.limit is not None and math.isfinite(self.limit):
            how = {
                "Neimark-Sacker": f"a cycle of {self.period:.3g} iterations sets in (Neimark-Sacker)",
                "flip": "the step overshoots (flip)",
                "real": "a drift sets in (real multiplier)",
            }[self.kind or "real"]
            words += f"; the largest stable learning rate is {self.limit:.4g} times the present one, where {how}"
        elif self.limit is not None:
            words += "; no learning rate that was tried is too large"
        if self.null:
            words += f"; {self.null} directions stand still"
        if not self.resolved:
            words += "; the slow part of the spectrum is unresolved, so slower motions are not judged"
        return words + "."


def stability(
    game: Game | Jacobian,
    batch: GameBatch | None = None,
    rule: OperatorRule | None = None,
    lr: float | tuple[float, float] | None = None,
    *,
    optimizers: Sequence[Optimizer] | None = None,
    vectors: int = MAX_VECTORS,
    dense_size: int = DENSE_SIZE,
) -> Stability:
    """Judge the update of a rule around the present parameters, taken for an equilibrium.

    Small updates are taken whole. Of large ones Arnoldi's method gives the fast part of the spectrum, and only values
    whose residual is small are judged; the largest stable rate is found on the eigenvalues of the field and confirmed
    on the update itself.

    Args:
        game: a game, or a Jacobian of one.
        batch: data and randomness of the losses; with a game only.
        rule: the update rule; the game's own if None.
        lr: learning rate of gradient descent for both players, or one each, where ``optimizers`` are not given.
        optimizers: both players' torch optimizers as they are now: momenta and second moments count.
        vectors: dimension of the Krylov spaces, for updates that are not taken whole.
        dense_size: largest state that is taken whole.

    Raises:
        ValueError: neither or both of ``lr`` and ``optimizers``; an adaptive optimizer that has not stepped.
        TypeError: no game, no rule, or an optimizer whose linearisation is unknown.
    """
    jacobian = as_jacobian(game, batch)
    chosen: Any = rule if rule is not None else getattr(game, "rule", None)
    if chosen is None:
        raise TypeError(f"{type(game).__name__} has no update rule of its own: pass rule=...")
    if (lr is None) == (optimizers is None):
        raise ValueError("Give either lr=... (gradient descent) or optimizers=(generator's, discriminator's).")
    if optimizers is None:
        assert lr is not None
        optimizers = _gradient_descent(jacobian, lr if isinstance(lr, tuple) else (lr, lr))
    chosen.check(optimizers)
    return _Analysis(chosen.operator(jacobian, optimizers), vectors, dense_size).judge()


def _gradient_descent(jacobian: Jacobian, rates: tuple[float, float]) -> list[Optimizer]:
    made: list[Optimizer] = []
    for part, rate in zip(jacobian.field, rates, strict=True):
        if not rate > 0:
            raise ValueError(f"lr={rates}: learning rates must be positive.")
        made.append(SGD([nn.Parameter(torch.zeros_like(part))], lr=rate))
    return made


class _Analysis:
    """The search for the largest stable multiple of the learning rates."""

    def __init__(self, operator: UpdateOperator, vectors: int, dense_size: int) -> None:
        self.vectors = vectors
        self.whole = operator.size <= dense_size
        self.operator = operator.on(dense(operator.jacobian), operator.recurrences) if self.whole else operator
        self.like = torch.cat(operator.jacobian.field)
        self.tolerance = converged_tolerance(self.like.dtype)
        #: a multiplier this near to 1 in modulus is neutral, and one this near to 1 stands still
        self.neutral = (
            self.tolerance if not self.whole else 100 * float(torch.finfo(self.like.dtype).eps) * operator.size
        )
        self.products = float(sum(operator.jacobian.sizes) if self.whole else 0)

    def judge(self) -> Stability:
        now, exponents = self._multipliers(self.operator), self._exponents()
        judged = self._judged(now)
        radius, growth = self._radius(judged), self._growth(judged)
        limit, at_limit = self._limit(growth, exponents)
        verdict: Verdict
        if abs(growth) <= self.neutral:
            verdict = "neutral"
        elif growth < 0:
            verdict = "stable"
        else:
            verdict = "unstable" if limit is not None else "unstable at any rate"
        if verdict == "neutral":
            limit, at_limit = None, None
        binding = (
            at_limit if at_limit is not None else (self._leading(judged) if verdict.startswith("unstable") else None)
        )
        return Stability(
            verdict=verdict,
            radius=radius,
            limit=limit,
            kind=None if at_limit is None else _kind(at_limit),
            binding=binding,
            period=math.inf if binding is None else self._turn(binding),
            multipliers=now.values,
            multiplier_residuals=now.residuals,
            exponents=exponents.values,
            exponent_residuals=exponents.residuals,
            rotation=_rotation(exponents.values),
            null=int((now.converged(self.tolerance) & self._still(now)).sum()),
            resolved=self.whole or bool(exponents.converged(self.tolerance).all()),
            direction=self._direction(now) if growth > self.neutral else None,
            products=self.products,
        )

    # --- eigenvalues --------------------------------------------------------------------------------------------

    def _multipliers(self, operator: UpdateOperator) -> Ritz:
        like = self.like.new_zeros(operator.size)
        if self.whole:
            return _exact(operator.dense())
        found = arnoldi(operator, like, self.vectors)
        self.products += found.products * operator.period
        return found

    def _exponents(self) -> Ritz:
        jacobian, recurrences = self.operator.jacobian, self.operator.recurrences
        flow = torch.cat([r.flow for r in recurrences])
        decay, shrinkage = (torch.cat([getattr(r, name) for r in recurrences]) for name in ("decay", "shrinkage"))

        def apply(w: Tensor) -> Tensor:
            return flow * (times(jacobian, w) - decay * w) - shrinkage * w

        if self.whole:
            return _exact(torch.stack([apply(unit) for unit in torch.eye(len(flow)).to(flow)], 1))
        found = arnoldi(apply, flow, self.vectors)
        self.products += found.products
        return found

    def _still(self, found: Ritz) -> Tensor:
        return (found.values - 1).abs() <= self.neutral

    def _judged(self, found: Ritz) -> Tensor:
        """Multipliers that are known and do not stand still."""
        return found.values[found.converged(self.tolerance) & ~self._still(found)]

    def _radius(self, values: Tensor) -> float:
        """Modulus per iteration."""
        largest = float(values.abs().max()) if len(values) else 1.0
        return float(largest ** (1 / self.operator.period))

    def _growth(self, values: Tensor) -> float:
        radius = self._radius(values)
        return math.log(radius) * self.operator.period if radius > 0 else -math.inf

    @staticmethod
    def _leading(values: Tensor) -> complex | None:
        return complex(values[values.abs().argmax()]) if len(values) else None

    def _turn(self, multiplier: complex) -> float:
        angle = abs(cmath.phase(multiplier))
        return 2 * math.pi / angle * self.operator.period if angle > self.neutral else math.inf

    def _direction(self, found: Ritz) -> Tensor:
        usable = found.converged(self.tolerance) & ~self._still(found)
        index = int(torch.where(usable, found.values.abs(), -1.0).argmax())
        direction: Tensor = found.vector(index).real[: len(self.like)]
        direction /= direction.norm()
        return direction

    # --- the largest stable rate ------------------------------------------------------------------------------------

    def _limit(self, growth: float, exponents: Ritz) -> tuple[float | None, complex | None]:
        """The factor on the learning rates at which stability is lost, and the multiplier that loses it there."""
        if self.whole:
            return self._search(self.operator, growth)
        # what one exponent does under this rule and these optimizers is known from a game of two numbers
        known = exponents.values[exponents.converged(self.tolerance)]
        known = known[(known.abs() > self.neutral) & (known.imag >= 0)]
        guesses = [self._small(complex(value)) for value in known]
        if not guesses or any(guess is None for guess in guesses):
            return None, None
        guess = min(g for g in guesses if g is not None)
        if not math.isfinite(guess):
            return math.inf, None
        return self._confirm(guess)

    def _small(self, exponent: complex) -> float | None:
        a, b = exponent.real, exponent.imag
        matrix = torch.tensor([[a, -b], [b, a]], dtype=torch.float64)
        recurrences = [r.of_exponent() for r in self.operator.recurrences]
        analysis = _Analysis(self.operator.on(MatrixJacobian(matrix, (1, 1)), recurrences), self.vectors, DENSE_SIZE)
        now = analysis._judged(analysis._multipliers(analysis.operator))
        return analysis._search(analysis.operator, analysis._growth(now))[0]

    def _search(self, operator: UpdateOperator, growth: float) -> tuple[float | None, complex | None]:
        def at(octave: float) -> float:
            return self._growth(self._judged(self._multipliers(operator.scaled(2.0**octave))))

        step = 1 if growth < 0 else -1
        inside, outside = (0.0, None) if growth < 0 else (None, 0.0)
        for octave in range(1, _OCTAVES + 1):
            value = at(step * octave)
            if value < -self.neutral:
                inside = float(step * octave)
            elif value > self.neutral or not math.isfinite(value):
                outside = float(step * octave)
            if inside is not None and outside is not None:
                break
        if inside is None:
            return None, None
        if outside is None:
            return math.inf, None
        root = float(brentq(at, inside, outside, xtol=1e-13))
        values = self._judged(self._multipliers(operator.scaled(2.0**root)))
        return 2.0**root, self._leading(values)

    def _confirm(self, guess: float) -> tuple[float | None, complex | None]:
        """Regula falsi on the update itself, from a guess that is exact for rules in which the players move alike."""
        points: list[tuple[float, float, complex | None]] = []
        factor = guess
        for _ in range(4):
            values = self._judged(self._multipliers(self.operator.scaled(factor)))
            growth = self._growth(values)
            points.append((factor, growth, self._leading(values)))
            if abs(growth) <= self.neutral or not len(values):
                break
            if len(points) == 1:
                factor *= 0.99 if growth > 0 else 1.01
                continue
            (f0, g0, _), (f1, g1, _) = points[-2:]
            if g1 == g0:
                break
            factor = min(max(f1 - g1 * (f1 - f0) / (g1 - g0), 0.25 * f1), 4 * f1)
            if abs(factor / f1 - 1) < 1e-4:
                points.append((factor, 0.0, points[-1][2]))
                break
        best = min(points, key=lambda point: abs(point[1]))
        return best[0], best[2]


def _exact(matrix: Tensor) -> Ritz:
    values, vectors = torch.linalg.eig(matrix.double())
    order = values.abs().argsort(descending=True)
    basis = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    residuals = torch.zeros(len(values), dtype=torch.float64)
    return Ritz(values[order].cpu(), residuals, len(matrix), basis, vectors[:, order].cpu())


def _rotation(exponents: Tensor) -> float:
    if not len(exponents) or not float(exponents[0].abs()):
        return 0.0
    return float(exponents[0].imag.abs() / exponents[0].abs())


def _kind(multiplier: complex) -> Kind:
    if abs(multiplier.imag) > 1e-6 * abs(multiplier):
        return "Neimark-Sacker"
    return "flip" if multiplier.real < 0 else "real"
