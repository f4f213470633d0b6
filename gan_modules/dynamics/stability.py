"""Will this rule converge at these learning rates, and how far can they be raised?"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, Protocol

import torch
from scipy.optimize import brentq
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from gan_modules.batch import GameBatch
from gan_modules.dynamics.arnoldi import MAX_VECTORS, Ritz, arnoldi
from gan_modules.dynamics.matrix_jacobian import MatrixJacobian, dense, times
from gan_modules.dynamics.operator import UpdateOperator
from gan_modules.dynamics.projection import Projection, TransposedError
from gan_modules.dynamics.spectrum import as_jacobian, finite_field
from gan_modules.protocols import Game, Jacobian, Parts, Vector, by_player

Verdict = Literal["stable", "neutral", "unstable", "unstable at any rate", "unresolved"]
Kind = Literal["Neimark-Sacker", "flip", "real"]

#: operators up to this size are taken whole, and their eigenvalues are exact
DENSE_SIZE = 128
#: learning rates are searched from 2^-20 to 2^20 of the present ones
_OCTAVES = 20
#: growth an iteration, in logarithms, that is small enough to be told from its power of the rate
_SMALL_GROWTH = 0.1
#: octaves from a guessed limit in which the limit is looked for first
_NEAR = 1 / 64
#: largest residual of an eigenvalue that is judged, relative to the largest modulus; its own residual is its margin
RESIDUAL = 1e-4
#: Krylov spaces in which what seems to grow is looked for again, and how many such motions at a time
_RESTARTS, _TOGETHER = 3, 4
_ALMOST_REAL = 1e-6
_ALMOST_ZERO = -1 + 1e-300


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
            Where the spectrum is not resolved it is an upper bound: a motion that was not found may be lost before.
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
    def known_multipliers(self) -> Tensor:
        """Which multipliers have converged, relative to what the update adds: (n,), bool; the verdict is of those."""
        return _converged(self.multipliers - 1, self.multiplier_residuals)

    @property
    def known_exponents(self) -> Tensor:
        """Which exponents have converged: (n,), bool."""
        return _converged(self.exponents, self.exponent_residuals)

    @property
    def time_to_converge(self) -> float:
        """Iterations in which the slowest displacement that is judged shrinks by a factor e; infinite if none does."""
        return -1 / math.log(self.radius) if 0 < self.radius < 1 else (0.0 if self.radius == 0 else math.inf)

    @property
    def lr_over_limit(self) -> float:
        """Our lr / h*: above 1 the update is unstable; infinite where no lower rate is stable, 0 where all are."""
        unstable = self.verdict.startswith("unstable")
        if self.limit is None or (unstable and self.limit > 1):  # the stable rates, if any, lie above
            return math.inf if unstable else math.nan
        return 1 / self.limit

    def __str__(self) -> str:
        words = {
            "stable": f"stable: a displacement shrinks by {self.radius:.10g} an iteration, e-fold in "
            f"{self.time_to_converge:.3g} iterations",
            "neutral": "neutral: a displacement neither grows nor shrinks exponentially",
            "unstable": f"unstable at these learning rates: a displacement grows by {self.radius:.6g} an iteration",
            "unresolved": "unresolved: no eigenvalue of the update was found",
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
    lr: float | Sequence[float] | None = None,
    *,
    optimizers: Sequence[Optimizer] | None = None,
    vectors: int = MAX_VECTORS,
    dense_size: int = DENSE_SIZE,
    thorough: bool = True,
) -> Stability:
    """Judge the update of a rule around the present parameters, taken for an equilibrium.

    Small updates are taken whole. Of large ones Arnoldi's method gives the fast part of the spectrum, and what seems to
    grow is looked for in Krylov spaces of its own. Only values whose residual is small are judged, each with its
    residual as margin. The largest stable rate is guessed from the eigenvalues of the field, then found on the update
    itself: some 250 to 900 products in all, and as many times more as the rule takes in an iteration.

    Where that is too much (``thorough=False``), one Krylov space of the field, cut by player, answers all of it in
    ``vectors`` products: the rule is played on the game in that space, at any learning rate, and what leaves the space
    is each value's residual (see ``Projection``). The same is judged in the same way, and more of it is unresolved.
    Rules that multiply with the transposed Jacobian are judged thoroughly nevertheless.

    Args:
        game: a game, or a Jacobian of one.
        batch: data and randomness of the losses; with a game only.
        rule: the update rule; the game's own if None.
        lr: learning rate of gradient descent for both players, or one each, where ``optimizers`` are not given.
        optimizers: both players' torch optimizers as they are now: momenta and second moments count.
        vectors: dimension of the Krylov spaces, for updates that are not taken whole.
        dense_size: largest state that is taken whole.
        thorough: whether to look at the update itself where it is not taken whole, at each learning rate anew.

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
        optimizers = _gradient_descent(jacobian, lr)
    chosen.check(optimizers)
    operator = chosen.operator(jacobian, optimizers)
    if not thorough and operator.size > dense_size:
        try:
            return _InOneSpace(operator, vectors).judge()
        except TransposedError:
            pass
    return _Analysis(operator, vectors, dense_size).judge()


def _gradient_descent(jacobian: Jacobian, lr: float | Sequence[float]) -> list[Optimizer]:
    rates = [lr, lr] if isinstance(lr, int | float) else list(lr)
    if len(rates) != 2 or not all(rate > 0 for rate in rates):
        raise ValueError(f"lr={lr}: a positive learning rate, or a pair of them, the generator's first.")
    parts = zip(jacobian.field, rates, strict=True)
    return [SGD([nn.Parameter(torch.zeros_like(part))], lr=rate) for part, rate in parts]


def _converged(values: Tensor, residuals: Tensor) -> Tensor:
    known: Tensor = residuals <= RESIDUAL * values.abs().max()
    return known


class _Analysis:
    """The multipliers of an update at present, and the largest multiple of its learning rates that is stable."""

    def __init__(self, operator: UpdateOperator, vectors: int, dense_size: int) -> None:
        self.vectors = vectors
        self.whole = operator.size <= dense_size
        self.like = finite_field(operator.jacobian)
        #: rounding errors of the game, in units of the fastest displacement
        self.eps = float(torch.finfo(self.like.dtype).eps)
        self.jacobian = _InDouble(dense(operator.jacobian) if self.whole else operator.jacobian)
        self.operator = operator.on(self.jacobian, operator.recurrences)
        self._dense_products = float(sum(self.jacobian.sizes)) if self.whole else 0.0

    def judge(self) -> Stability:
        now, exponents = self.multipliers(0.0, restarts=_RESTARTS), self._exponents()
        period = self.operator.period
        verdict = now.verdict()
        limit, at_limit = self._limit(exponents) if verdict in ("stable", "unstable") else (None, None)
        if verdict == "unstable" and limit is None:
            verdict = "unstable at any rate"
        binding = at_limit if at_limit is not None else now.leading if verdict.startswith("unstable") else None
        return Stability(
            verdict=verdict,
            radius=now.radius ** (1 / period),
            limit=limit,
            kind=None if at_limit is None else _kind(at_limit),
            binding=binding,
            period=math.inf if binding is None else _turn(binding) * period,
            multipliers=now.values,
            multiplier_residuals=now.found.residuals,
            exponents=exponents.values,
            exponent_residuals=exponents.residuals,
            rotation=_rotation(exponents.values),
            null=int((now.known & now.still).sum()),
            resolved=self.whole or bool(exponents.converged(RESIDUAL).all()),
            direction=now.direction(len(self.like)) if verdict.startswith("unstable") else None,
            products=self.products,
        )

    @property
    def products(self) -> float:
        """With the game's Jacobian, so far."""
        return self._dense_products or self.jacobian.products

    def multipliers(self, octave: float, restarts: int = 0) -> _Multipliers:
        """Those at 2^octave times the present learning rates; Krylov spaces start anew from what seems to grow."""
        operator = self.operator.scaled(2.0**octave)

        def displacement(state: Tensor) -> Tensor:
            # in float64, so that nothing is lost of steps that are small against the state
            double = state.double()
            return (operator(double) - double).to(state.dtype)

        if self.whole:
            units = torch.eye(operator.size, dtype=torch.float64, device=self.like.device)
            return _Multipliers(_exact(torch.stack([displacement(unit) for unit in units], 1)), self.eps)
        like = self.like.new_zeros(operator.size)
        found = _Multipliers(arnoldi(displacement, like, self.vectors), self.eps)
        for _ in range(restarts):
            start = found.seems_to_grow()
            if start is None:
                break
            found = _Multipliers(arnoldi(displacement, like, self.vectors, start=start), self.eps)
        return found

    def _exponents(self) -> Ritz:
        recurrences = self.operator.recurrences
        flow, decay, shrinkage = (
            torch.cat([getattr(r, name) for r in recurrences]).double() for name in ("flow", "decay", "shrinkage")
        )

        def apply(w: Tensor) -> Tensor:
            double = w.double()
            return (flow * (times(self.jacobian, double) - decay * double) - shrinkage * double).to(w.dtype)

        if self.whole:
            return _exact(torch.stack([apply(unit) for unit in torch.eye(len(flow)).to(flow)], 1))
        return arnoldi(apply, self.like, self.vectors)

    # --- the largest stable rate ------------------------------------------------------------------------------------

    def _limit(self, exponents: Ritz) -> tuple[float | None, complex | None]:
        """The factor on the learning rates at which stability is lost, and the multiplier that loses it there.

        Infinite where no rate that was tried is too large, None where all are.
        """
        grows = cache(self._growth)
        octave = _boundary(grows, 0.0, 1.0) if self.whole else self._boundary_near(self._guess(exponents), grows)
        if octave is None or math.isinf(octave):
            return octave, None
        return 2.0**octave, self.multipliers(octave).leading

    def _growth(self, octave: float) -> float:
        return self.multipliers(octave).growth

    def _guess(self, exponents: Ritz) -> float | None:
        """The boundary for the game of which those exponents are all: exact for rules that move the players alike."""
        moves = exponents.values.abs() > 100 * self.eps * exponents.values.abs().max()
        known = exponents.values[exponents.converged(RESIDUAL) & moves & (exponents.values.imag >= 0)]
        if not len(known):
            return None
        recurrences = [r.of_exponent() for r in self.operator.recurrences]
        matrix = _normal_form(known)
        size = len(known)
        game = MatrixJacobian(matrix, (size, size))
        small = _Analysis(self.operator.on(game, recurrences), self.vectors, dense_size=16 * size)
        return _boundary(lambda octave: small.multipliers(octave).growth, 0.0, 1.0)

    def _boundary_near(self, guess: float | None, grows: Callable[[float], float]) -> float | None:
        """The boundary of the update itself, from a guess."""
        if guess is None:
            return None
        return _boundary(grows, min(guess, float(_OCTAVES)), _NEAR, tolerance=_NEAR / 20, longest=4.0, windows=False)


class _InOneSpace(_Analysis):
    """The same from one Krylov space of the field, in which the update is known at all rates."""

    def __init__(self, operator: UpdateOperator, vectors: int) -> None:
        super().__init__(operator, vectors, dense_size=0)
        self._projection = Projection(operator, vectors)

    @property
    def products(self) -> float:
        return float(self._projection.exponents.products)

    def multipliers(self, octave: float, restarts: int = 0) -> _Multipliers:
        return _Multipliers(self._projection.displacements(2.0**octave), self.eps)

    def _exponents(self) -> Ritz:
        return self._projection.exponents

    def _growth(self, octave: float) -> float:
        found = self.multipliers(octave)  # a rate is stable only where nothing seems to grow
        return max(found.growth, found.doubt)

    def _boundary_near(self, guess: float | None, grows: Callable[[float], float]) -> float | None:
        # no rate costs a product here, so that it is looked for without a guess, too
        if guess is None:
            return _boundary(grows, 0.0, 1.0, tolerance=_NEAR / 20, windows=False)
        return super()._boundary_near(guess, grows)


class _Multipliers:
    """Eigenvalues 1 + d of an update, from the eigenvalues d of what it adds to a state, and what is known of them."""

    def __init__(self, found: Ritz, eps: float) -> None:
        displacements = found.values
        values = 1 + displacements
        order = values.abs().argsort(descending=True)
        scale = float(displacements.abs().max())
        floor = 100 * math.sqrt(len(values)) * (torch.finfo(torch.float64).eps + eps * scale)
        self.values = values[order]
        self.found = replace(
            found,
            values=displacements[order],
            residuals=found.residuals[order],
            coordinates=found.coordinates[:, order],
        )
        self.known = self.found.converged(RESIDUAL)
        self.still = self.found.values.abs() <= floor
        # |mu|^2 - 1 = 2 Re d + |d|^2 keeps the digits that log |1 + d| would lose
        rate = 0.5 * torch.log1p(
            (2 * self.found.values.real + self.found.values.abs().square()).clamp_min(_ALMOST_ZERO)
        )
        residuals = self.found.residuals
        unknown = ~self.known & ~self.still
        # one that is not known may still be known to grow, and says nothing otherwise
        self._seeming = unknown & (rate > 0)
        #: positive where one that is not known is outside the unit circle by more than its residual
        self.doubt = float((rate - residuals)[unknown].max()) if bool(unknown.any()) else -math.inf
        #: those that are known and don't stand still, or surely grow
        self.judged = (self.known & ~self.still) | (unknown & (rate > 10 * residuals))
        self._rates = rate[self.judged]
        self._margins = torch.where(self.known, residuals.clamp_min(floor), 10 * residuals)[self.judged]
        # growth of up to fourth order in small rates (Runge-Kutta's), and any at rates so large that rounding is
        # larger, is lost: not growing is then not known
        small = self.found.values[self.judged].abs() ** 4 <= 1e3 * floor
        self._lost = (self._rates.abs() <= floor) & (small | torch.tensor(floor > 0.1))

    @property
    def leading(self) -> complex | None:
        """The largest that is judged."""
        judged = self.values[self.judged]
        return complex(judged[0]) if len(judged) else None

    @property
    def radius(self) -> float:
        leading = self.leading
        return 1.0 if leading is None else abs(leading)

    @property
    def growth(self) -> float:
        """Positive where a displacement grows, or where that is lost in rounding."""
        if not len(self._rates):
            return -1.0
        return float(torch.where(self._lost, self._margins, self._rates - self._margins).max())

    def seems_to_grow(self) -> Tensor | None:
        """The sum of the vectors of what grows and is not known yet, if there is any: a start to know it by."""
        indices = self._seeming.nonzero()[:_TOGETHER, 0].tolist()
        return sum((self.found.vector(i).real for i in indices), torch.tensor(0.0)) if indices else None

    def verdict(self) -> Verdict:
        if not len(self._rates):
            return "neutral" if bool(self.known.any()) else "unresolved"
        if float((self._rates - self._margins).max()) > 0:
            return "unstable"
        if float((self._rates + self._margins).max()) >= 0:
            return "neutral"
        return "unresolved" if self.doubt > 0 else "stable"  # it most likely grows, whatever its digits are

    def direction(self, size: int) -> Tensor:
        """The displacement of both players that grows most, a unit vector."""
        direction: Tensor = self.found.vector(int(self.judged.int().argmax())).real[:size]
        direction /= direction.norm()
        return direction


class _InDouble:
    """A Jacobian as seen in float64, whatever its own precision, its products counted."""

    def __init__(self, jacobian: Jacobian) -> None:
        self._jacobian = jacobian
        self._dtype = jacobian.field[0].dtype
        self.sizes = jacobian.sizes
        self.field: Vector = by_player(torch.cat(jacobian.field).double(), jacobian.sizes)
        self.products = 0.0

    def rows(self, player: int, w: Parts) -> Tensor:
        self.products += sum(part is not None for part in w) / 4
        return self._jacobian.rows(player, self._own(w)).double()

    def halves(self, w: Vector) -> tuple[Tensor, Tensor]:
        self.products += 1
        first, second = self._jacobian.halves(by_player(torch.cat(w).to(self._dtype), self.sizes))
        return first.double(), second.double()

    def transposed(self, w: Parts) -> Vector:
        self.products += sum(part is not None for part in w) / 2
        first, second = self._jacobian.transposed(self._own(w))
        return first.double(), second.double()

    def _own(self, w: Parts) -> Parts:
        first, second = (None if part is None else part.to(self._dtype) for part in w)
        return first, second


def _boundary(
    growth: Callable[[float], float],
    first: float,
    stride: float,
    *,
    tolerance: float = 1e-10,
    longest: float = 1.0,
    windows: bool = True,
) -> float | None:
    """The octave at which growth sets in, from below; infinite where it never does, None where it always is there.

    Searched from ``first`` by strides that double up to ``longest`` octaves. Down to where nothing grows, or to where
    growth is small and proportional to the rate: that is the flow's own, which no lower rate stops. Then up: from a
    stable rate for its end, and else, where asked, for a window of stable rates (extragradient has them).
    """

    def strides(sign: int, reach: float) -> Iterator[float]:
        step, octave = stride, first
        while abs(octave + sign * step) <= reach:
            octave += sign * step
            yield octave
            step = min(2 * step, longest)

    now = growth(first)
    stable, unstable = (None, first) if now > 0 else (first, None)
    if unstable is not None:
        for octave in strides(-1, _OCTAVES):
            before, now = now, growth(octave)
            if now <= 0:
                stable = octave
                break
            if now < _SMALL_GROWTH and abs(now / before * 2 ** (unstable - octave) - 1) < 0.05:
                break
            unstable = octave
    if unstable is None or (stable is None and windows):
        for octave in strides(1, _OCTAVES):
            if growth(octave) <= 0:
                stable, unstable = octave, None
            elif stable is not None:
                unstable = octave
                break
    if stable is None:
        return None
    if unstable is None:
        return math.inf
    return float(brentq(growth, stable, unstable, xtol=tolerance))


def _normal_form(exponents: Tensor) -> Tensor:
    """The matrix ((a, -b), (b, a)) of diagonal blocks with eigenvalues a + i b, a block of each exponent."""
    a, b = exponents.real.diag(), exponents.imag.diag()
    return torch.cat([torch.cat([a, -b], 1), torch.cat([b, a], 1)])


def _exact(matrix: Tensor) -> Ritz:
    values, vectors = torch.linalg.eig(matrix.double())
    order = values.abs().argsort(descending=True)
    basis = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    residuals = torch.zeros(len(values), dtype=torch.float64)
    return Ritz(values[order].cpu(), residuals, len(matrix), basis, vectors[:, order].cpu())


def _turn(multiplier: complex) -> float:
    """Applications of the update in which its multiplier turns once; infinite where it does not."""
    angle = abs(cmath.phase(multiplier))
    return 2 * math.pi / angle if angle > _ALMOST_REAL else math.inf


def _rotation(exponents: Tensor) -> float:
    if not len(exponents) or not float(exponents[0].abs()):
        return 0.0
    return float(exponents[0].imag.abs() / exponents[0].abs())


def _kind(multiplier: complex) -> Kind:
    if abs(multiplier.imag) > _ALMOST_REAL * abs(multiplier):
        return "Neimark-Sacker"
    return "flip" if multiplier.real < 0 else "real"
