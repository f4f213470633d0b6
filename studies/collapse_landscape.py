"""Under a perfect discriminator mode collapse is a canyon of the generator's loss; bound D's slope, and it opens.

Two particles on two points, exactly (Sun, Fang and Schwing, 2020): what the loss is with the best discriminator, on the
way out of collapse too, for three losses, and how steep D must be for a barrier. Then a network on a ring of eight: a
GAN is trained, then shown one mode until it makes nothing else, then trained on. At each of the three generators, with
the discriminator at its best (studies/best_discriminator.py), the generator's loss is followed downhill, and at what is
reached its Hessian is taken, with D frozen and with D answering.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datamodules import RingDataModule
from gan_modules import R1GAN, Adam
from gan_modules.batch import GameBatch, RandomRows, key
from gan_modules.dynamics import GameJacobian, Play, TotalHessian, lanczos
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.rules import Alternating
from studies import two_points
from studies.best_discriminator import Landscape
from studies.harness import COLOURS, Findings, Row, Run, Study, panels
from studies.two_points import LOG2, LOG6

MODES = 8
#: a mode is there if it has this share of its weight
PRESENT = 0.2
#: eigenvalues of less than this, relative to the largest, count as flat
FLAT = 1e-6
#: of Lanczos' method
VECTORS = 20
#: weight of R1 where the slope of D is bounded
GAMMA = 0.1
#: how far the generator is moved along a direction: its parameters, or its samples (root mean square)
LENGTH, MOVED = 1.0, 0.2
#: the configurations of Sun et al. and what each loss is there, to four digits as published
CONFIGURATIONS = {"neither": (2.0, 3.0), "one": (0.0, 2.0), "collapsed": (0.0, 0.0), "both": (0.0, 1.0)}
PUBLISHED = {"JS": (0.0, -0.3466, -0.4774, -0.6931), "fixed pairs": (0.0, -0.3466, -0.3466, -0.6931)}
#: where the second particle is on its way from the point of the first to the other one
WAY = (0.0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)
EXACT: dict[str, Callable[..., float]] = {
    "JS": two_points.jensen_shannon,
    "fixed pairs": two_points.pairing,
    "all pairs": partial(two_points.pairing, every=True),
}


@dataclass
class Spectrum:
    """The generator's Hessians at a point of its loss.

    Attributes:
        frozen, total: with D frozen and with D answering, eigenvalues ascending.
        vectors: of the total one, columns.
        frozen_vectors: of the other.
        gain: smallest and largest eigenvalue of total - frozen.
    """

    frozen: Tensor
    total: Tensor
    vectors: Tensor
    frozen_vectors: Tensor
    gain: tuple[float, float]

    @property
    def sharp_to_flat(self) -> float:
        return float(self.total.max() / self.total.abs().median())

    def negatives(self, values: Tensor) -> int:
        """Eigenvalues below -FLAT times the largest of the total Hessian."""
        return int((values < -FLAT * self.total.max()).sum())

    @property
    def flat(self) -> float:
        """Share of the total Hessian's eigenvalues that count as flat."""
        return float((self.total.abs() <= FLAT * self.total.max()).double().mean())


@dataclass
class Seed:
    """All that is measured with one seed: numbers for the rows, arrays for the figure."""

    numbers: dict[str, float] = field(default_factory=dict)
    samples: dict[str, Tensor] = field(default_factory=dict)
    spectra: dict[str, Spectrum] = field(default_factory=dict)
    road: dict[str, list[float]] = field(default_factory=dict)
    moves: dict[str, list[dict[str, float]]] = field(default_factory=dict)  # by kind, one a direction and sign


@dataclass(frozen=True)
class CollapseLandscape(Study):
    """Parameters.

    Attributes:
        rows: points of data, and latents, of the ring.
        width: tanh units of both hidden layers of the generator.
        iterations: of training before collapse, in it, and after it, each.
        features, scale, decay: of the best discriminator: number, length scale, and weight of |phi|^2 / 2.
        settling: steps by which the loss is followed.
        directions: of each kind along which the generator is moved.
        steps: of the network that is trained on two points.
    """

    rows: int = 256
    width: int = 24
    iterations: int = 800
    features: int = 160
    scale: float = 0.3
    decay: float = 1e-6
    settling: int = 250
    directions: int = 5
    steps: int = 300

    FULL: ClassVar[dict[str, Any]] = {"seeds": 10, "rows": 512, "settling": 750}

    def measure(self, run: Run) -> Findings:
        exact, points = self._two_points()
        found = [self._ring(seed) for seed in run.track(range(self.seeds), "seeds")]
        return Findings([*exact, *_ring_rows(found)], (points, found))

    # --- two points, exactly --------------------------------------------------------------------------------------

    def _two_points(self) -> tuple[list[Row], dict[str, Any]]:
        rows = []
        for name, numbers in PUBLISHED.items():
            for (what, particles), number in zip(CONFIGURATIONS.items(), numbers, strict=True):
                rows.append(Row(f"two points, {name}: {what}", EXACT[name](particles), number, 5e-5))
        ways = {name: [value((0.0, g)) for g in WAY] for name, value in EXACT.items()}
        for name, barrier in {"JS": 0.1308, "fixed pairs": 0.0, "all pairs": LOG2 / 4}.items():
            rows.append(Row(f"two points, {name}: barrier", max(ways[name]) - ways[name][0], barrier, 5e-5))
        for what, number in {"one": math.inf, "collapsed": math.log(3), "both": LOG2}.items():
            value = two_points.non_saturating(CONFIGURATIONS[what])
            rows.append(Row(f"two points, non-saturating: {what}", value, number, 1e-12))
        learned = {
            name: [two_points.trained((0.0, g), kind, 0, self.steps) for g in WAY]
            for name, kind in {"JS": "JS", "fixed pairs": "fixed", "all pairs": "every"}.items()
        }
        worst = [max(abs(a - b) for a, b in zip(learned[name], ways[name], strict=True)) for name in ways]
        rows.append(Row("two points: a trained D, largest difference", worst, 0.01, relation="<="))
        rows.append(Row("two points, JS: slope x distance at which a barrier appears", _critical(), LOG6, 1e-3))
        return rows, {"ways": ways, "learned": learned}

    # --- a network on the ring ------------------------------------------------------------------------------------

    def _ring(self, seed: int) -> Seed:
        data = RingDataModule(modes=MODES, std=0.05, batch_size=1, data_seed=seed, train_size=self.rows)
        points, modes = data.load("train")
        random = RandomRows(seed, 0, 0, 0, self.rows, self.rows, points.device)
        batch = GameBatch(points.double(), random.normal("z", (2,)).double(), random, index=None)
        assert modes is not None
        result = Seed()
        judged = torch.randn(1000, 2, generator=torch.Generator().manual_seed(key("judged")), dtype=torch.float64)

        def looked_at(name: str, landscape: Landscape) -> None:
            samples = landscape.samples(judged)
            result.samples[name] = samples
            result.numbers[f"{name}: modes"] = present(data, samples)
            result.numbers[f"{name}: spread"] = spread(samples)

        generators = self._trained(batch, modes, seed)
        for name, theta in generators.items():
            perfect = self._landscape(batch, seed)
            perfect.theta = theta
            looked_at(f"{name}, trained", perfect)
            perfect.settle(self.settling)
            looked_at(name, perfect)
            spectrum = result.spectra[name] = _spectrum(perfect)
            value, gradient = perfect.gradient()
            result.numbers[f"{name}: loss"] = value
            result.numbers[f"{name}: gradient"] = float(gradient.norm())
            if name == "collapsed":
                result.numbers |= _game(perfect)
                self._checks(perfect, spectrum, result)
                result.moves = self._moves(perfect, spectrum, data, judged, seed)
        self._arms(batch, generators["collapsed"], seed, looked_at, result)
        return result

    def _landscape(self, batch: GameBatch, seed: int, **settings: Any) -> Landscape:
        given = {"decay": self.decay, "features": self.features, "scale": self.scale, "seed": seed} | settings
        return Landscape(self._generator(seed), batch, **given)

    def _generator(self, seed: int) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(key("generator", seed))
            return MLPGenerator((2,), latent_dim=2, width=self.width, depth=2, activation="tanh").double()

    def _trained(self, batch: GameBatch, modes: Tensor, seed: int) -> dict[str, Tensor]:
        """A GAN with R1 and networks on both sides: trained, then on one mode alone, then on all again."""
        generator = self._generator(seed)
        with torch.random.fork_rng():
            torch.manual_seed(key("discriminator", seed))
            discriminator = MLPDiscriminator((2,), width=32, depth=2, activation="tanh").double()
        game = R1GAN(generator, discriminator, gamma=GAMMA, ema_decay=0.0, seed=seed)
        one = batch.real[modes == seed % MODES]
        alone = replace(batch, real=one[torch.arange(self.rows) % len(one)])
        optimizer = partial(Adam, lr=2e-3, beta1=0.0, beta2=0.9)
        found = {}
        for name, shown in {"before": batch, "collapsed": alone, "after": batch}.items():
            play = Play(game, Alternating(), (optimizer, optimizer), lambda k, shown=shown: shown)
            for _ in range(self.iterations):
                play.step()
            found[name] = play.handles[0].position()
        return found

    def _checks(self, perfect: Landscape, spectrum: Spectrum, result: Seed) -> None:
        """The same by products alone, as for a network of any size."""
        perfect.value()
        jacobian = GameJacobian(perfect.game, perfect.batch)
        total = TotalHessian(jacobian)
        w = torch.randn(len(spectrum.total), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        dense = spectrum.vectors @ (spectrum.total * (spectrum.vectors.T @ w))
        ends = lanczos(total, w, VECTORS).values
        result.numbers |= {
            "D's gradient": float(jacobian.field[1].norm()),
            "products": float((total(w) - dense).norm() / dense.norm()),
            "largest by Lanczos": float(ends[-1] / spectrum.total[-1]),
        }
        for factor in (0.1, 1.0, 10.0):  # a D that is held where it is: the more, the nearer to the frozen one
            damped = _spectrum(perfect, factor * self.decay)
            result.numbers[f"largest eigenvalue, damping {factor:g} x decay"] = float(damped.total[-1])
            result.numbers[f"smallest eigenvalue, damping {factor:g} x decay"] = float(damped.total[0])

    def _arms(
        self, batch: GameBatch, collapsed: Tensor, seed: int, looked_at: Callable[[str, Landscape], None], result: Seed
    ) -> None:
        """The collapsed generator on other losses: where each leads, and what it meets on the way."""
        arms: dict[str, dict[str, Any]] = {
            "with R1": {"gamma": GAMMA},
            "pairs": {"loss": "pairing"},
            "pairs with R1": {"loss": "pairing", "gamma": GAMMA},
            "decay / 10": {"decay": self.decay / 10},
            "decay x 10": {"decay": self.decay * 10},
            "decay x 100": {"decay": self.decay * 100},
        }
        for name, settings in arms.items():
            arm = self._landscape(batch, seed, **settings)
            arm.theta = collapsed
            path = arm.settle(self.settling)
            looked_at(name, arm)
            if name.startswith("decay"):
                spectrum = _spectrum(arm)
                result.numbers[f"{name}: smallest"] = float(spectrum.total[0])
                result.numbers[f"{name}: largest"] = float(spectrum.total[-1])
            if name == "with R1":
                perfect = self._landscape(batch, seed)
                for key_, landscape in (("perfect", perfect), ("with R1", arm)):
                    result.road[key_] = [_value(landscape, theta) for theta in path]
                road = result.road["perfect"]
                result.numbers["barrier"] = max(road) - road[0]
                result.numbers["end of the way"] = road[-1] - road[0]

    def _moves(
        self, perfect: Landscape, spectrum: Spectrum, data: RingDataModule, judged: Tensor, seed: int
    ) -> dict[str, list[dict[str, float]]]:
        """The generator moved along directions of each kind: what becomes of its samples and of its loss."""
        k, n = self.directions, len(spectrum.total)
        numbers = torch.Generator().manual_seed(key("moves", seed))
        flat = spectrum.vectors[:, spectrum.total.abs() <= FLAT * spectrum.total[-1]]
        kinds = {
            "sharp": spectrum.vectors[:, -k:],
            "random": torch.randn(n, k, generator=numbers, dtype=torch.float64),
            "flat": flat @ torch.randn(flat.shape[1], k, generator=numbers, dtype=torch.float64),
            "negative": spectrum.vectors[:, :k],
            "negative, D frozen": spectrum.frozen_vectors[:, :k],
        }
        start, rest = perfect.samples(judged), perfect.value()
        frozen, base = _frozen(perfect), spread(perfect.samples(judged))

        def moved(direction: Tensor, length: float) -> dict[str, float]:
            with perfect.at(perfect.theta + length * direction):
                samples = perfect.samples(judged)
                answered = perfect.value() - rest
                return {
                    "length": length,
                    "moved": float((samples - start).square().sum(1).mean().sqrt()),
                    "spread": spread(samples) - base,
                    "rise": answered,
                    "falls": float(answered < 0),
                    "falls frozen": float(frozen(perfect) < rest),
                }

        found: dict[str, list[dict[str, float]]] = {}
        for kind, vectors in kinds.items():
            found[kind] = []
            for vector in (vectors / vectors.norm(dim=0)).T:
                for direction in (vector, -vector):
                    length = _length(perfect, direction, judged)
                    equal = {f"{name}, equal": value for name, value in moved(direction, length).items()}
                    found[kind].append(moved(direction, LENGTH) | equal)
        return found

    def figure(self, findings: Findings) -> Figure:
        return _figure(*findings.data)


def _critical() -> float:
    return two_points.critical_slope()


def _spectrum(landscape: Landscape, damping: float = 0.0) -> Spectrum:
    own, mixed, inner = landscape.blocks()
    answer = mixed @ torch.linalg.solve(inner + damping * torch.eye(len(inner), dtype=inner.dtype), mixed.T)
    frozen, frozen_vectors = torch.linalg.eigh(own)
    total, vectors = torch.linalg.eigh(own + (answer + answer.T) / 2)
    gain = torch.linalg.eigvalsh((answer + answer.T) / 2)
    return Spectrum(frozen, total, vectors, frozen_vectors, (float(gain[0]), float(gain[-1])))


def _game(landscape: Landscape) -> dict[str, float]:
    """The eigenvalues of the game's Jacobian, whose D moves as the generator does."""
    own, mixed, inner = landscape.blocks()
    eigenvalues = torch.linalg.eigvals(-torch.cat([torch.cat([own, mixed], 1), torch.cat([-mixed.T, inner], 1)]))
    return {"game: growth": float(eigenvalues.real.max()), "game: rotation": float(eigenvalues.imag.max())}


def _value(landscape: Landscape, theta: Tensor) -> float:
    with landscape.at(theta):
        return landscape.value()


def _length(landscape: Landscape, direction: Tensor, z: Tensor) -> float:
    """How far along a direction samples first have moved by MOVED, root mean square; at most 1000."""
    theta, start = landscape.theta, landscape.samples(z)

    def farther(length: float) -> bool:
        with landscape.at(theta + length * direction):
            return float((landscape.samples(z) - start).square().sum(1).mean().sqrt()) >= MOVED

    high = next((length for length in 1e-3 * 2.0 ** np.arange(20) if farther(length)), 1000.0)
    low = high / 2
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if farther(middle) else (middle, high)
    return float(high)


def _frozen(landscape: Landscape) -> Callable[[Landscape], float]:
    """The generator's loss as a function of it, with D as it is now."""
    weights = [p.detach().clone() for p in landscape.discriminator.parameters()]

    def loss(now: Landscape) -> float:
        with torch.no_grad():
            for p, kept in zip(now.discriminator.parameters(), weights, strict=True):
                p.copy_(kept)
        return -now.game.player_loss(1, now.batch).item()  # outside, for penalties differentiate

    return loss


def negative(eigenvalues: Tensor) -> float:
    """The sum of the negative ones, / that of all sizes."""
    return float(-eigenvalues.clamp(max=0).sum() / eigenvalues.abs().sum())


def present(data: RingDataModule, samples: Tensor) -> float:
    """How many modes have PRESENT of their weight among the samples."""
    counts = torch.bincount(data.truth.assign(samples) + 1, minlength=MODES + 1)[1:]
    return float((counts >= PRESENT * len(samples) / MODES).sum())


def spread(samples: Tensor) -> float:
    """Root mean square distance of samples from their mean: 1 on the ring."""
    return float((samples - samples.mean(0)).square().sum(1).mean().sqrt())


def _ring_rows(found: list[Seed]) -> list[Row]:
    def each(name: str) -> list[float]:
        return [one.numbers[name] for one in found]

    def of(name: str, what: Callable[[Spectrum], float]) -> list[float]:
        return [what(one.spectra[name]) for one in found]

    rows = [
        Row("norm of D's gradient at its best", each("D's gradient"), 1e-9, relation="<="),
        Row("total Hessian: products against the matrix", each("products"), 1e-6, relation="<="),
        Row("largest eigenvalue: Lanczos / dense", each("largest by Lanczos"), 1.0, 1e-6),
        Row("before: modes", each("before: modes"), 7.0, relation=">="),
        Row("collapsed: modes", each("collapsed, trained: modes"), 1.0),
        Row("after: modes", each("after: modes"), 7.0, relation=">="),
        Row("from collapse, perfect D: modes", each("collapsed: modes"), 1.0),
        Row("from collapse, with R1: modes", each("with R1: modes"), 6.0, relation=">="),
        Row("from collapse, perfect D on pairs: modes", each("pairs: modes"), 1.0),
        Row("from collapse, pairs with R1: modes", each("pairs with R1: modes"), 6.0, relation=">="),
        Row("perfect D on R1's way out: barrier", each("barrier"), 0.05, relation=">="),
        Row("perfect D on R1's way out: end", each("end of the way"), 0.0, relation="<="),
    ]
    for name in ("before", "collapsed", "after"):
        rows += [
            Row(f"{name}: loss", each(f"{name}: loss")),
            Row(f"{name}: norm of its gradient", each(f"{name}: gradient")),
            Row(f"{name}: smallest eigenvalue of total - frozen, / largest", of(name, lambda s: s.gain[0] / s.gain[1]),
                0.0, 1e-9, relation=">="),
            Row(f"{name}: smallest eigenvalue, D frozen", of(name, lambda s: float(s.frozen[0]))),
            Row(f"{name}: smallest eigenvalue, D answering", of(name, lambda s: float(s.total[0]))),
            Row(f"{name}: largest eigenvalue, D frozen", of(name, lambda s: float(s.frozen[-1]))),
            Row(f"{name}: largest eigenvalue, D answering", of(name, lambda s: float(s.total[-1]))),
            Row(f"{name}: negative share of curvature, D frozen", of(name, lambda s: negative(s.frozen)),
                *((0.05, 0.0, ">=") if name == "collapsed" else ())),
            Row(f"{name}: negative share of curvature, D answering", of(name, lambda s: negative(s.total)),
                0.01, relation="<="),
            Row(f"{name}: negative eigenvalues, D frozen", of(name, lambda s: s.negatives(s.frozen))),
            Row(f"{name}: negative eigenvalues, D answering", of(name, lambda s: s.negatives(s.total))),
            Row(f"{name}: sharp to flat, largest / median", of(name, lambda s: s.sharp_to_flat)),
            Row(f"{name}: share of flat eigenvalues", of(name, lambda s: s.flat)),
        ]  # fmt: skip
    rows += [
        Row("collapsed: largest real part of the game's eigenvalues", each("game: growth")),
        Row("collapsed: fastest rotation of the game", each("game: rotation")),
    ]
    means = {
        kind: {what: [float(np.mean([move[what] for move in one.moves[kind]])) for one in found] for what in moves[0]}
        for kind, moves in found[0].moves.items()
    }
    for kind, of_kind in means.items():
        rows += [
            Row(f"moved by 1, {kind}: samples move by", of_kind["moved"]),
            Row(f"samples moved by {MOVED:g}, {kind}: by a move of", of_kind["length, equal"]),
            Row(f"samples moved by {MOVED:g}, {kind}: spread gained", of_kind["spread, equal"]),
            Row(f"samples moved by {MOVED:g}, {kind}: rise of loss", of_kind["rise, equal"]),
            Row(f"samples moved by {MOVED:g}, {kind}: loss falls, D frozen", of_kind["falls frozen, equal"]),
            Row(f"samples moved by {MOVED:g}, {kind}: loss falls, D answering", of_kind["falls, equal"], 0.0),
        ]
    for name in ("decay / 10", "decay x 10", "decay x 100"):
        rows += [Row(f"collapsed, {name}: {what}", each(f"{name}: {what}"))
                 for what in ("modes", "spread", "largest", "smallest")]  # fmt: skip
    rows += [Row(name, each(name)) for name in found[0].numbers if ", damping" in name]
    return rows


def _figure(points: dict[str, Any], found: list[Seed]) -> Figure:
    figure, axes = panels(2, 3, height=3.1, width=10.5)
    (way, slopes, samples), (road, spectra, moves) = axes
    _draw_two_points(way, slopes, points)
    first = found[0]
    shown = {"before": "before", "collapsed, trained": "collapsed", "collapsed": "then, perfect D",
             "with R1": "then, slope bounded"}  # fmt: skip
    for k, (name, title) in enumerate(shown.items()):
        right, down = 3.0 * (k % 2), -3.3 * (k // 2)
        angles = torch.arange(MODES) * (2 * math.pi / MODES)
        samples.plot(angles.cos() + right, angles.sin() + down, "o", mfc="none", mec="0.6", ms=6)
        points_ = first.samples[name]
        samples.plot(points_[:, 0] + right, points_[:, 1] + down, ".", ms=2, alpha=0.4, color=COLOURS[(6, 6, 1, 0)[k]])
        samples.text(right, 1.35 + down, title, ha="center", fontsize=8)
    samples.set(title="ring: the generator", aspect="equal", xlim=(-1.5, 4.5), ylim=(-4.7, 1.8))
    samples.set_axis_off()
    for one in found:
        for name, colour in (("perfect", COLOURS[1]), ("with R1", COLOURS[0])):
            label = {"perfect": "perfect D", "with R1": "slope bounded by R1"}[name] if one is first else None
            road.plot(one.road[name], color=colour, alpha=0.8, lw=1.0, label=label)
        road.plot(0, one.road["perfect"][0], "o", color=COLOURS[1], ms=4)
    road.set(title="ring: loss on R1's way out of collapse", xlabel="step", ylabel="generator's loss, D at its best")
    road.legend(fontsize=7)
    collapsed = first.spectra["collapsed"]
    for values, colour, label in (
        (collapsed.frozen, COLOURS[1], "D frozen"),
        (collapsed.total, COLOURS[0], "D answering"),
    ):
        for sign, style in ((1, "-"), (-1, ":")):
            sizes = (sign * values).sort(descending=True).values
            sizes = sizes[sizes > 1e-8]
            name = label + (": positive" if sign > 0 else ": negative")
            spectra.loglog(np.arange(1, len(sizes) + 1), sizes, style, color=colour, lw=2, label=name)
    spectra.set(title="ring: the generator's Hessian in collapse", xlabel="rank", ylabel="size of eigenvalue")
    spectra.legend(fontsize=7, loc="upper right")
    colours = [COLOURS[k] for k in (1, 6, 2, 3, 0)]
    for colour, kind in zip(colours, first.moves, strict=True):
        each = [move for one in found for move in one.moves[kind]]
        x = [move["rise, equal"] for move in each]
        moves.plot(x, [move["spread, equal"] for move in each], ".", color=colour, alpha=0.6, ms=5, label=kind)
    moves.axvline(0, color="0.6", lw=0.8)
    moves.axhline(0, color="0.6", lw=0.8)
    moves.set(title=f"ring: samples moved by {MOVED:g} along directions", xlabel="rise of loss, D at its best",
              ylabel="spread gained")  # fmt: skip
    moves.legend(fontsize=7, loc="lower left")
    return figure


def _draw_two_points(way: Any, slopes: Any, points: dict[str, Any]) -> None:
    g = np.linspace(0, 1, 201)
    for colour, shift, (name, value) in zip(COLOURS, (0.006, -0.006, 0.0), EXACT.items(), strict=False):
        way.plot(g, [value((0.0, float(x))) + shift for x in g], color=colour, label=name)
        way.plot(WAY, [value + shift for value in points["learned"][name]], "o", color=colour, ms=3)
    way.set(title="two points: exact (lines), trained D (dots)", xlabel="second particle (the first is at 0)",
            ylabel="generator's loss, D at its best")  # fmt: skip
    way.legend(fontsize=7, loc="lower center")
    for shade, slope in zip(np.linspace(0.25, 1.0, 5), (1.0, LOG6, 4.0, 10.0, 100.0), strict=True):
        values = np.array([two_points.bounded((0.0, float(x)), slope) for x in g])
        label = f"{slope:.3g}" + (" = log 6" if slope == LOG6 else "")
        slopes.plot(g, values - values[0], color=COLOURS[0], alpha=shade, label=label)
    slopes.axhline(0, color="0.6", lw=0.8)
    slopes.set(title="two points, JS: D's slope bounded", xlabel="second particle", ylabel="loss above collapse",
               ylim=(-0.15, 0.14))  # fmt: skip
    slopes.legend(fontsize=7, title="slope", title_fontsize=7)
