"""On u^T A v every update rule spirals, plane by plane, at its rate in closed form, up to its limit and not past it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.optim import SGD

from gan_modules import BilinearGame, rules
from gan_modules.dynamics import Play, Stability, stability
from gan_modules.rules import UpdateRule
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
#: an amplitude below this share of the largest is rounding
ROUNDING = 1e-8
#: where the trajectories of the figure, and a rate with its name, are taken
SHOWN, NAMED = 0.3, 0.1
#: small, for the sign that symplectic adjustment aligns is decided by a constant near the equilibrium only
START = 1e-6
#: share of a bound at which ``stability`` is asked for it
BELOW = 0.5
#: the plane of one singular value, 1
PLANE = BilinearGame([[1.0]])


@dataclass(frozen=True)
class Case:
    """A rule at a learning rate h, and the bound on s = h sigma below which it stays bounded.

    Weights of Jacobian products and unrolled steps are multiples of h, so that all depends on s alone. The bound is
    found by ``stability`` where it has no closed form (None); else it is where BilinearGame.rates reaches 1. Unrolled:
    the multipliers of [[1 - 10 s^2, -s], [s, 1]] leave the circle at -1, where 4 = 19 s^2.
    """

    name: str
    make: Callable[[float], UpdateRule]
    bound: float | None = None

    @cached_property
    def judged(self) -> Stability:
        """What ``stability`` says of the rule with the weights it has at its bound, at a learning rate below."""
        h = self.bound if self.bound and math.isfinite(self.bound) else NAMED / BELOW
        return stability(PLANE, PLANE.batch(), self.make(h), BELOW * h)

    @cached_property
    def limit(self) -> float:
        return self.bound if self.bound is not None else NAMED * (self.judged.limit or math.nan)

    def rate(self, s: float) -> float:
        """Per iteration, in closed form; by the rule's own operator where none is known."""
        rule = self.make(s)
        try:
            return float(PLANE.rates(rule, s)[0])
        except NotImplementedError:
            operator = rule.operator(PLANE.closed_form_jacobian(), [SGD(p.parameters(), lr=s) for p in PLANE.players])
            return float(torch.linalg.eigvals(operator.dense()).abs().max()) ** (1 / rule.period)

    @property
    def circles(self) -> bool:
        """Whether it neither grows nor shrinks below its limit."""
        return self.name == "alternating"

    def overshoot(self, s: float) -> float:
        """Largest distance, of the starting one, on a bounded orbit: alternating keeps u^2 + v^2 + s u v."""
        return math.sqrt((2 + s) / (2 - s)) if self.circles else 1.0


CASES = (
    Case("simultaneous", lambda h: rules.Simultaneous(), 0.0),
    Case("alternating", lambda h: rules.Alternating(), 2.0),
    Case("extragradient", lambda h: rules.Extragradient(), 1.0),
    Case("optimistic", lambda h: rules.Optimistic(), 1 / math.sqrt(3)),
    Case("negative momentum", lambda h: rules.NegativeMomentum(beta=-0.5), 1.0),
    Case("consensus, 2h", lambda h: rules.Consensus(gamma=2 * h), math.sqrt(3) / 2),
    Case("symplectic, h", lambda h: rules.SymplecticAdjustment(lambda_=h), 1.0),
    Case("competitive", lambda h: rules.CompetitiveGradient(tolerance=1e-12, max_iterations=100), math.inf),
    Case("unrolled, 5", lambda h: rules.Unrolled(k=5, lr=h), 2 / math.sqrt(19)),
    Case("lookahead, 5", lambda h: rules.Lookahead(rules.Simultaneous(), k=5)),
    Case("lookahead, 5, alt.", lambda h: rules.Lookahead(rules.Alternating(), k=5)),
    Case("Runge-Kutta 2", lambda h: rules.RungeKutta(2), 0.0),
    Case("Runge-Kutta 3", lambda h: rules.RungeKutta(3), math.sqrt(3)),
    Case("Runge-Kutta 4", lambda h: rules.RungeKutta(4), 2 * math.sqrt(2)),
)


@dataclass(frozen=True)
class Matrices:
    """Random Gaussian matrices of largest singular value 1, one a seed, played together as one block-diagonal game."""

    shape: tuple[int, int]
    seeds: int

    @cached_property
    def blocks(self) -> list[Tensor]:
        drawn = [
            torch.randn(*self.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
            for seed in range(self.seeds)
        ]
        return [a / torch.linalg.matrix_norm(a, 2) for a in drawn]

    @cached_property
    def sigmas(self) -> Array:
        """Singular values, shape (seeds, planes), largest first."""
        return torch.stack([torch.linalg.svdvals(a) for a in self.blocks]).numpy()

    def play(self, case: Case, lr: float, iterations: int) -> Array:
        """Coordinates of a trajectory in each singular plane: (periods of the rule, seeds, planes, 2)."""
        game = BilinearGame(torch.block_diag(*self.blocks), seed=self.seeds)
        play = Play(game, case.make(lr), lr)
        play.position = START * play.position
        x = torch.stack(list(play.trajectory(iterations)))[:: play.rule.period]
        m, n = self.shape
        u = x[:, : m * self.seeds].view(len(x), self.seeds, m)
        v = x[:, m * self.seeds :].view(len(x), self.seeds, n)
        left, _, right = torch.linalg.svd(torch.stack(self.blocks), full_matrices=False)
        planes = torch.einsum("tsm,smk->tsk", u, left), torch.einsum("tsn,skn->tsk", v, right)
        return torch.stack(planes, -1).numpy()


@dataclass(frozen=True)
class BilinearRules(Study):
    """Rates measured on random matrices at several learning rates, against the closed form.

    Attributes:
        shape: of the random matrices.
        rates: learning rates a rule, evenly spaced up to 1.15 of its limit.
        iterations: that a rate is measured on.
        long: iterations at 1 % inside and past the limit.
        rules: which of CASES.
        tolerance: on a rate.
    """

    shape: tuple[int, int] = (4, 6)
    rates: int = 5
    iterations: int = 100
    long: int = 800
    tolerance: float = 1e-6
    rules: tuple[str, ...] = tuple(case.name for case in CASES)

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "rates": 20, "shape": (10, 12), "long": 4000}

    def measure(self, run: Run) -> Findings:
        matrices = Matrices(self.shape, self.seeds)
        rows: list[Row] = []
        data = {}
        for case in run.track([case for case in CASES if case.name in self.rules], "rules"):
            points = self._rates(case, matrices)
            data[case] = points, matrices.play(case, SHOWN, 60)[:, 0, 0]
            errors = np.abs(points[..., 1] - points[..., 2])
            worst = errors.max((0, 2)).tolist()
            named = points[0, :, 0, 1].tolist()
            rows += [
                Row(f"{case.name}: rate at s = {NAMED}", named, case.rate(NAMED), self.tolerance),
                Row(f"{case.name}: largest error of {errors.size} rates", worst, 0.0, self.tolerance),
                *self._limits(case, matrices),
            ]
        return Findings(rows, data)

    def _rates(self, case: Case, matrices: Matrices) -> Array:
        """(s, measured, predicted) of every plane: (rates + 1, seeds, planes, 3)."""
        top = 1.15 * case.limit if 0 < case.limit < math.inf else 1.5
        points = []
        for lr in [NAMED, *np.linspace(top / self.rates, top, self.rates).tolist()]:
            s = lr * matrices.sigmas
            measured = spectral_radii(matrices.play(case, lr, self.iterations)) ** (1 / case.make(lr).period)
            predicted = np.array([case.rate(value) for value in s.ravel().tolist()]).reshape(s.shape)
            points.append(np.stack([s, measured, predicted], -1))
        return np.stack(points)

    def _limits(self, case: Case, matrices: Matrices) -> list[Row]:
        rows = []
        if not case.bound or case.bound == math.inf:
            expected = "unstable at any rate" if case.bound == 0 else "stable"
            rows.append(Row(f"{case.name}: by stability()", case.judged.verdict, expected))
        elif not case.circles:
            rows.append(
                Row(
                    f"{case.name}: s* by stability()",
                    BELOW * case.bound * (case.judged.limit or math.nan),
                    case.bound,
                    1e-6,
                )
            )
        inside, past = {0.0: (None, 0.5), math.inf: (3.0, None)}.get(case.limit, (0.99 * case.limit, 1.01 * case.limit))
        if inside is not None:
            late, _, start = self._distances(case, inside, matrices)
            bound = case.overshoot(inside)
            rows.append(
                Row(
                    f"{case.name}: s = {inside:.4g}, inside s*: late / start",
                    (late / start).tolist(),
                    bound,
                    relation="<=",
                )
            )
        if past is not None:
            late, earlier, _ = self._distances(case, past, matrices)
            rows.append(
                Row(
                    f"{case.name}: s = {past:.4g}, past s*: late / earlier",
                    (late / earlier).tolist(),
                    1.1,
                    relation=">=",
                )
            )
        return rows

    def _distances(self, case: Case, s: float, matrices: Matrices) -> tuple[Array, Array, Array]:
        """In the leading planes: the largest in the last third and in the middle third of a run, and the first."""
        distances = np.linalg.norm(matrices.play(case, s, self.long)[:, :, 0], axis=-1)
        first, middle, last = np.array_split(distances, 3)
        return last.max(0), middle.max(0), first[0]

    def figure(self, findings: Findings) -> Figure:
        columns = -(-len(findings.data) // 2)
        figure, axes = panels(4, columns, width=13, height=2.0)
        for i, (case, (points, orbit)) in enumerate(findings.data.items()):
            above, below = axes[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
            _draw_orbit(above, case, orbit / np.linalg.norm(orbit[0]))
            _draw_rates(below, case, points)
            if i % columns == 0:
                above.set_ylabel(f"v, at s = {SHOWN}")
                below.set_ylabel("growth an iteration")
        lines = {line.get_label(): line for ax in axes.flat for line in ax.lines if line.get_label()[0] != "_"}
        figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=6)
        return figure


def _draw_orbit(ax: Any, case: Case, orbit: Array) -> None:
    end = np.linalg.norm(orbit[-1])
    colour, label = (COLOURS[0], "contracts") if end < 1 else (COLOURS[1], "grows")
    colour, label = (COLOURS[6], "stays on an ellipse") if case.circles else (colour, label)
    ax.plot(*orbit.T, ".-", color=colour, markersize=3, linewidth=0.6, label=label)
    ax.plot(*orbit[0], "o", color=colour, markersize=5)
    ax.plot(0, 0, "+", color="0.4")
    reach = 1.1 * max(1.0, float(np.abs(orbit).max()))
    ax.set(title=case.name, xlim=(-reach, reach), ylim=(-reach, reach), xlabel="u", aspect="equal")
    ax.xaxis.set_label_coords(0.75, -0.05)
    ax.tick_params(labelsize=7)


def _draw_rates(ax: Any, case: Case, points: Array) -> None:
    s, measured, _ = points.reshape(-1, 3).T
    curve = np.linspace(1e-3, s.max(), 200)
    ax.plot(s, measured, "o", color=COLOURS[5], markersize=4, label="measured rate")
    ax.plot(curve, [case.rate(float(x)) for x in curve], color=COLOURS[6], label="predicted rate")
    ax.axhline(1, color="0.6", linewidth=0.6, zorder=0)
    if 0 < case.limit < math.inf:
        ax.axvline(case.limit, color=COLOURS[1], linestyle="--", linewidth=1, label="predicted limit")
    ax.set(xlabel="s = h sigma", ylim=(min(0.6, measured.min() - 0.02), min(1.6, measured.max() + 0.05)))


def spectral_radii(orbits: Array) -> Array:
    """The largest modulus of the linear map that carries two successive positions to the next two, by least squares.

    Two, for a rule may remember one. Only what is not rounding beside the largest of all planes counts.

    Args:
        orbits: shape (times, ..., 2).
    """
    flat = orbits.reshape(len(orbits), -1, 2)
    largest = np.linalg.norm(flat, axis=-1).max(1)
    found = []
    for orbit in flat.transpose(1, 0, 2):
        pairs = np.concatenate([orbit[:-1], orbit[1:]], 1)
        size = np.linalg.norm(pairs, axis=1)
        clear = (size > ROUNDING * largest[:-1]) & (largest[:-1] < 1e3)
        end = len(clear) if clear.all() else int(np.argmin(clear))
        now, after = (pairs[part] / size[: end - 1, None] for part in (slice(0, end - 1), slice(1, end)))
        step = np.linalg.lstsq(now, after, rcond=1e-6)[0]
        found.append(np.abs(np.linalg.eigvals(step)).max())
    return np.array(found).reshape(orbits.shape[1:-1])
