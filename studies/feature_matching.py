"""Feature matching brings back the modes a collapsed generator misses, where minimax's gradient is nothing to step by.

The generator starts as a spike, and D is trained to convergence against it before the players go on together, by
minimax, by the non-saturating loss, or by feature matching, from the same state on the same batches. Two things decide
what becomes of minimax. Beside a mode D is certain, and minimax's gradient is 1e-12 of feature matching's; but a
generator that *is* one of eight modes leaves the best D at 1/9 there. And Adam divides by the gradient's own size, down
to its eps: at the customary 1e-8 it makes whole steps of next to nothing, so that minimax escapes as well; here eps is
1e-3 in all three arms, far below the others' gradients, and minimax at 1e-8 is shown beside them.

On the Dirac-GAN feature matching does not turn, where minimax turns for ever. On the ring, once all modes are covered,
it is not the calmer of the two: how much each moves is reported, not judged.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from callbacks.metrics import ModeCoverage
from datamodules import RingDataModule
from datamodules.truth import GaussianMixture
from gan_modules.batch import GameBatch, RandomRows, key
from gan_modules.dirac_gan import DiracGenerator
from gan_modules.dynamics import Play
from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, FeatureMatching, Minimax, NonSaturating
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.optimizers import Adam
from gan_modules.protocols import DISCRIMINATOR, GENERATOR
from gan_modules.rules import Alternating
from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
MINIMAX, NON_SATURATING, MATCHING = "minimax", "non-saturating", "feature matching"
CUSTOMARY = "minimax, eps 1e-8"
LOSSES: dict[str, AdversarialLoss] = {
    MINIMAX: Minimax(),
    NON_SATURATING: NonSaturating(),
    MATCHING: FeatureMatching(loss=Minimax()),
    CUSTOMARY: Minimax(),
}
BESIDE, ON, COVERED = "collapsed beside a mode", "collapsed onto a mode", "all modes covered"
#: where the generator collapses to, from the first mode outward, and its width, both in std of a mode
SPIKES = {BESIDE: (10.0, 0.2), ON: (0.0, 1.0)}
#: what is played from where
ARMS = {BESIDE: tuple(LOSSES), ON: (MINIMAX, NON_SATURATING, MATCHING), COVERED: (MINIMAX, MATCHING)}


@dataclass
class State:
    """Both players, and D's optimizer."""

    generator: nn.Module
    discriminator: nn.Module
    optimizer: dict[str, Any]


@dataclass
class Course:
    """What came of a run.

    Attributes:
        gradient: norm of the generator's gradient before its first step.
        modes: with at least one sample of high quality, at every look.
        shared: modes with at least a hundredth of the samples, of high quality, at every look.
        quality: share of samples of high quality, at every look.
        shares: of samples nearest to each mode, at every look, (looks, K).
        means: mean sample at every look, (looks, 2).
        first: samples before, (n, 2).
        last: samples after.
        end: state after.
    """

    gradient: float
    modes: list[float]
    shared: list[float]
    quality: list[float]
    shares: Array
    means: Array
    first: Array
    last: Array
    end: State

    def movement(self) -> float:
        """Mean total variation between the shares at successive looks, in the last two thirds."""
        late = self.shares[len(self.shares) // 3 :]
        return float(0.5 * np.abs(np.diff(late, axis=0)).sum(1).mean())

    def wander(self) -> float:
        """Root mean square distance of the mean sample from its own mean over time, in the last two thirds."""
        late = self.means[len(self.means) // 3 :]
        return float(np.sqrt(((late - late.mean(0)) ** 2).sum(1).mean()))


@dataclass(frozen=True)
class FeatureMatchings(Study):
    """The ring of 8, radius 1; both players of 3 hidden layers, Adam (0.5, 0.9).

    Attributes:
        std: of a mode.
        width: of the hidden layers.
        batch: rows a step.
        lr: of both players.
        eps: of the generator's Adam, below which a gradient makes a step of its own size.
        converge: steps of D alone against the collapsed generator.
        iterations: of both players from there.
        again: further iterations, from where minimax has covered the modes, to watch them move.
        every: iterations between looks.
        samples: at a look, from the same latents.
    """

    std: float = 0.05
    width: int = 64
    batch: int = 256
    lr: float = 1e-3
    eps: float = 1e-3
    converge: int = 1500
    iterations: int = 500
    again: int = 400
    every: int = 20
    samples: int = 2500

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "converge": 5000, "iterations": 5000, "again": 3000}

    def measure(self, run: Run) -> Findings:
        found: dict[tuple[str, str], list[Course]] = {}
        for seed in run.track(range(self.seeds), "seeds"):
            for where in SPIKES:
                start = self._collapsed(where, seed)
                for name in ARMS[where]:
                    found.setdefault((where, name), []).append(self._play(start, name, self.iterations, seed))
            covered = found[ON, MINIMAX][-1].end
            for name in ARMS[COVERED]:
                found.setdefault((COVERED, name), []).append(self._play(covered, name, self.again, seed))
        return Findings([*self._recovery(found), *self._oscillation(found), *dirac()], found)

    # --- rows -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _recovery(found: dict[tuple[str, str], list[Course]]) -> list[Row]:
        rows = []
        for where in SPIKES:
            runs = {name: found[where, name] for name in ARMS[where]}
            rows += [Row(f"{where}: generator's gradient, {name}", [c.gradient for c in runs[name]]) for name in runs]
            for name in runs:
                bound: tuple[Any, ...] = ()
                if name == MATCHING:
                    bound = (7, 0, ">=")
                elif (where, name) == (BESIDE, MINIMAX):
                    bound = (0, 0, "<=")
                rows.append(Row(f"{where}: modes of 8, {name}", [c.modes[-1] for c in runs[name]], *bound))
            for name in runs:
                rows += [
                    Row(f"{where}: modes with 1 % of samples, {name}", [c.shared[-1] for c in runs[name]]),
                    Row(f"{where}: high-quality share, {name}", [c.quality[-1] for c in runs[name]]),
                ]
        weak, strong = found[BESIDE, MINIMAX], found[BESIDE, MATCHING]
        ratios = [m.gradient / f.gradient for m, f in zip(weak, strong, strict=True)]
        return [*rows, Row(f"{BESIDE}: gradient, minimax / feature matching", ratios, 1e-6, relation="<=")]

    @staticmethod
    def _oscillation(found: dict[tuple[str, str], list[Course]]) -> list[Row]:
        rows = []
        runs = {name: found[COVERED, name] for name in ARMS[COVERED]}
        for what, of in (("movement of mode shares", Course.movement), ("wander of the mean", Course.wander)):
            rows += [Row(f"{COVERED}: {what}, {name}", [of(c) for c in runs[name]]) for name in runs]
            ratios = [of(f) / of(m) for f, m in zip(runs[MATCHING], runs[MINIMAX], strict=True)]
            rows.append(Row(f"{COVERED}: {what}, feature matching / minimax", ratios))
        return rows

    # --- playing ----------------------------------------------------------------------------------------------------

    @property
    def truth(self) -> GaussianMixture:
        return RingDataModule(std=self.std, batch_size=self.batch).truth

    def _batch(self, seed: int, k: int) -> GameBatch:
        numbers = torch.Generator().manual_seed(key("feature_matching", seed, k))
        real = self.truth.sample(self.batch, numbers)[0].float()
        random = RandomRows(seed, k, 0, 0, self.batch, self.batch, real.device)
        return GameBatch(real, random.normal("z", (2,)), random, index=k)

    def _adam(self, parameters: Any, eps: float = 1e-8) -> torch.optim.Optimizer:
        return Adam(parameters, lr=self.lr, beta1=0.5, beta2=0.9, eps=eps)

    def _collapsed(self, where: str, seed: int) -> State:
        """A generator that is a spike, and a discriminator trained against it."""
        with torch.random.fork_rng():
            torch.manual_seed(key("networks", seed))
            generator = MLPGenerator((2,), latent_dim=2, width=self.width, depth=3)
            discriminator = MLPDiscriminator((2,), width=self.width, depth=3)
        offset, spread = SPIKES[where]
        mode = self.truth.means[0].float()
        centre = mode * (1 + offset * self.std / float(mode.norm()))
        optimizer = self._adam(generator.parameters())
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 500)
        for k in range(500):
            z = self._batch(seed, -1 - k).z
            optimizer.zero_grad()
            (generator(z) - centre - spread * self.std * z).square().mean().backward()
            optimizer.step()
            schedule.step()
        state = State(generator, discriminator, {})
        play = self._game(state, MINIMAX, seed)
        for k in range(self.converge):
            play.game.gradient(DISCRIMINATOR, self._batch(seed, 10**6 + k))
            play.handles[DISCRIMINATOR].step()
        state.optimizer = play.optimizers[DISCRIMINATOR].state_dict()
        return state

    def _game(self, state: State, name: str, seed: int) -> Play:
        game = GANModule(state.generator, state.discriminator, loss=LOSSES[name], ema_decay=0.0)
        ours = partial(self._adam, eps=1e-8 if name == CUSTOMARY else self.eps)
        return Play(game, Alternating(), (ours, self._adam), lambda k: self._batch(seed, k))

    def _play(self, start: State, name: str, iterations: int, seed: int) -> Course:
        state = copy.deepcopy(start)
        play = self._game(state, name, seed)
        play.optimizers[DISCRIMINATOR].load_state_dict(state.optimizer)
        play.game.gradient(GENERATOR, self._batch(seed, -1))
        gradient = float(play.handles[GENERATOR].gradient.norm())
        looks = [self._samples(state.generator)]
        for k in range(iterations):
            play.step()
            if (k + 1) % self.every == 0:
                looks.append(self._samples(state.generator))
        state.optimizer = play.optimizers[DISCRIMINATOR].state_dict()
        found = [self._look(x) for x in looks]
        modes, shared, quality, shares = zip(*found, strict=True)
        return Course(
            gradient,
            list(modes),
            list(shared),
            list(quality),
            np.array(shares),
            np.array([x.mean(0).tolist() for x in looks]),
            looks[0].numpy(),
            looks[-1].numpy(),
            state,
        )

    @torch.no_grad()
    def _samples(self, generator: nn.Module) -> Tensor:
        numbers = torch.Generator().manual_seed(key("latents"))
        samples: Tensor = generator(torch.randn(self.samples, 2, generator=numbers))
        return samples

    def _look(self, x: Tensor) -> tuple[float, float, float, Array]:
        """Modes covered, modes with a hundredth of the samples, high-quality share, and shares by nearest mode."""
        truth, modes = self.truth, self.truth.assign(x)
        metric = ModeCoverage(truth.num_modes)
        metric.update(modes, real=False)
        values = metric.compute()
        enough = torch.bincount(modes + 1, minlength=truth.num_modes + 1)[1:] >= len(x) / 100
        nearest = torch.cdist(x.double(), truth.means).argmin(1)
        shares = torch.bincount(nearest, minlength=truth.num_modes) / len(x)
        return float(values["modes"]), float(enough.sum()), float(values["high_quality"]), shares.double().numpy()

    # --- figure -----------------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(3, 4, width=10.0, height=2.5)
        colours = dict(zip(LOSSES, (COLOURS[1], COLOURS[4], COLOURS[0], COLOURS[3]), strict=True))
        found: dict[tuple[str, str], list[Course]] = findings.data
        for row, where in enumerate(SPIKES):
            for ax, name in zip(axes[row], ARMS[ON], strict=False):
                self._scatter(ax, found[where, name][0], colours[name])
                ax.set_title(f"{name}: {_summary([c.modes[-1] for c in found[where, name]])} modes")
            axes[row, 0].set_ylabel(where)
            ax = axes[row, 3]
            for i, name in enumerate(ARMS[where]):
                for course in found[where, name]:
                    at = self.every * np.arange(len(course.modes))
                    ax.plot(at, np.array(course.modes) + 0.08 * (i - 1), color=colours[name], lw=0.8, alpha=0.7)
                ax.plot([], [], color=colours[name], label=name)
            ax.set(title="modes of 8, each seed", xlabel="iteration", ylim=(-0.4, 8.4))
        figure.legend(*axes[0, 3].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        for ax, name in zip(axes[2], ARMS[COVERED], strict=False):
            course = found[COVERED, name][0]
            at = self.every * np.arange(len(course.shares))
            ax.stackplot(at, course.shares.T, colors=[*COLOURS, "0.7"], alpha=0.8)
            ax.set(title=f"{name}: moves {_summary([100 * c.movement() for c in found[COVERED, name]])} %",
                   xlabel="iteration", ylim=(0, 1), xlim=(0, at[-1]))  # fmt: skip
        axes[2, 0].set_ylabel(f"{COVERED}:\nshare of each mode")
        self._movement(axes[2, 2], found, colours)
        self._dirac(axes[2, 3], colours)
        return figure

    def _scatter(self, ax: Any, course: Course, colour: str) -> None:
        ax.plot(*self.truth.means.T.numpy(), "o", color="0.85", ms=9)
        ax.plot(*course.last.T, ".", color=colour, ms=1.5, alpha=0.5)
        ax.plot(*course.first.mean(0), "x", color="k", ms=7, mew=1.5)
        ax.set(xlim=(-1.8, 1.8), ylim=(-1.6, 1.6), aspect="equal", xticks=(), yticks=())

    @staticmethod
    def _movement(ax: Any, found: dict[tuple[str, str], list[Course]], colours: dict[str, str]) -> None:
        for i, name in enumerate(ARMS[COVERED]):
            values = [course.movement() for course in found[COVERED, name]]
            ax.plot([i] * len(values), values, "o", color=colours[name], ms=4)
        ax.set(title="movement of shares, each seed", xlim=(-0.5, 1.5), ylim=(0, None))
        ax.set_xticks([0, 1], ARMS[COVERED])

    @staticmethod
    def _dirac(ax: Any, colours: dict[str, str]) -> None:
        for name in (MINIMAX, MATCHING):
            ax.plot(dirac_path(name)[:200], color=colours[name])
        ax.set(title="Dirac-GAN, alternating", xlabel="iteration", ylabel="theta")


def _summary(values: list[float]) -> str:
    mean, half = mean_and_interval(values)
    return f"{mean:.2g}" + (f" ± {half:.1g}" if half > 0 else "")


# --- the Dirac-GAN ----------------------------------------------------------------------------------------------------

RATE, START, TURNS = 0.2, 0.1, 600


def dirac_path(name: str) -> Array:
    """Descent of theta, alternating, from (0.1, 0), small enough for minimax's rotation to be the linear one."""
    discriminator = nn.Linear(1, 1, bias=False, dtype=torch.float64)  # its features are its input
    nn.init.zeros_(discriminator.weight)
    game = GANModule(DiracGenerator(START, 0.0), discriminator, loss=LOSSES[name], ema_decay=0.0)
    point = torch.zeros(1, 1, dtype=torch.float64)
    batch = GameBatch(point, point, RandomRows(0, 0, 0, 0, 1, 1, point.device))
    play = Play(game, Alternating(first="generator"), RATE, lambda k: batch)
    return torch.stack(list(play.trajectory(TURNS)))[:, 0].numpy()


def dirac() -> list[Row]:
    """Feature matching descends theta^2, and D has no say; minimax turns by 2 arcsin(h/4) an iteration."""
    minimax, matching = dirac_path(MINIMAX), dirac_path(MATCHING)
    return [
        Row(
            "Dirac-GAN: theta's factor an iteration, feature matching", matching[20] / matching[19], 1 - 2 * RATE, 1e-9
        ),
        Row("Dirac-GAN: theta changes sign, feature matching", float(_crossings(matching)), 0.0),
        Row(
            "Dirac-GAN: theta changes sign, minimax",
            float(_crossings(minimax)),
            TURNS * 2 * math.asin(RATE / 4) / math.pi,
            1.0,
        ),
    ]


def _crossings(values: Array) -> int:
    return int((values[:-1] * values[1:] < 0).sum())
