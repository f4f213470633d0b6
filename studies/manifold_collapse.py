"""GANs leave samples between modes, 3/5 hybrids too: doubling a run takes some away, overlap does not add them.

Eight Gaussians on a ring, of which neighbours overlap from 1e-6 to 0.3, and the digits 3 and 5, with 0 and 1 as the
control: by four losses with the same networks, rates and number of steps. Rates are constant, so that a run is the
first half of one of twice the length, and is looked at there.

The share between modes is ``ManifoldCollapse``'s, by the density's valleys on the ring and by the classifier of digits
there: 5 % of the held-out reals have it. What a perfect generator would have is measured: the mixture's own samples,
and the training digits. On 3 and 5 a few seeds are trained four times as long once more.

Runs are kept: what is done is not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from datamodules.seeding import keyed_generator
from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels
from studies.hybrids import (
    ALPHA,
    LOOKS,
    LOSSES,
    Data,
    Task,
    between,
    digits,
    judged,
    label,
    rarest,
    reals,
    ring,
    trained,
)

#: share between modes at each look, one a seed, by data and loss
Measured = dict[tuple[Data, str], dict[float, list[float]]]
Samples = dict[tuple[Data, str], list[list[Tensor]]]
SEPARATED = 0.01  # overlap up to which modes are called apart
PENS = (COLOURS[0], COLOURS[1], COLOURS[3], COLOURS[6])  # in few colours still four
NEAR = 0.03  # of a perfect sampler's share
FALLS = 0.005  # least that doubling a run takes from it
SHOWN = 16  # of the most hybrid digits


@dataclass(frozen=True)
class ManifoldCollapseStudy(Study):
    """Parameters.

    Attributes:
        overlaps: of neighbours on a ring of eight.
        pairs: of digits; the first is the one that overlaps, the second the control.
        losses: names of LOSSES.
        iterations: of a GAN with one step of each player, in a run of length 1; a third of it where the critic takes
            five.
        longer: how many times as long the first pair is trained once more; 0 for not.
        longer_seeds: how many of the seeds are for that.
        ring_samples: taken of a generator on the ring.
        digit_samples: taken of one of digits.
    """

    overlaps: tuple[float, ...] = (1e-6, 0.001, 0.01, 0.1, 0.3)
    pairs: tuple[tuple[int, int], ...] = ((3, 5), (0, 1))
    losses: tuple[str, ...] = tuple(LOSSES)
    iterations: int = 500
    longer: int = 4
    longer_seeds: int = 3
    ring_samples: int = 2000
    digit_samples: int = 600

    FULL: ClassVar[dict[str, Any]] = {"seeds": 10, "longer_seeds": 10, "iterations": 1500}

    def measure(self, run: Run) -> Findings:
        unknown = set(self.losses) - set(LOSSES)
        if unknown:
            raise ValueError(f"losses={self.losses}: no losses {sorted(unknown)}; there are {', '.join(LOSSES)}.")
        asked: list[Data] = [*self.pairs, *self.overlaps]
        measured, samples = self._gans(run, "runs", self._tasks(asked, self.iterations))
        longer = self._tasks(list(self.pairs[:1]), self.iterations * self.longer) if self.longer else []
        later, _ = self._gans(run, "longer", [task for task in longer if task.seed < self.longer_seeds])
        floors = {data: perfect(data) for data in asked}
        rows = [*_metric_rows(floors), *_gan_rows(measured, ""), *_gan_rows(later, f", {self.longer} times as long")]
        for (data, loss), left in samples.items():
            rows.append(Row(f"{loss}, {label(data)}: rarest mode", [rarest(data, looks[-1]) for looks in left]))
        rows += [*self._judged(measured, later, floors)]
        return Findings(rows, (measured, samples, later, floors))

    def _tasks(self, asked: list[Data], iterations: int) -> list[Task]:
        return [
            Task(loss, data, seed, iterations, self.ring_samples if isinstance(data, float) else self.digit_samples)
            for seed in range(self.seeds)
            for data in asked
            for loss in self.losses
        ]

    def _gans(self, run: Run, where: str, tasks: list[Task]) -> tuple[Measured, Samples]:
        """Shares between modes, and samples at each look of each seed."""
        measured: Measured = {}
        samples: Samples = {}
        for task in run.track(tasks, where):
            left = trained(task, run.out / where)
            arm = measured.setdefault((task.data, task.loss), {look: [] for look in LOOKS})
            for look, x in zip(LOOKS, left, strict=True):
                arm[look].append(between(task.data, x))
            samples.setdefault((task.data, task.loss), []).append(left)
        return measured, samples

    def _judged(self, measured: Measured, later: Measured, floors: dict[Data, float]) -> Iterator[Row]:
        """What must hold, of the end of an interval over seeds."""
        apart = [overlap for overlap in self.overlaps if overlap <= SEPARATED]
        for loss in self.losses:
            for data in [*self.pairs[:1], *apart]:
                arm = measured[data, loss]
                name = f"{loss}, {label(data)}: between at length 2 - perfect"
                yield _above(name, _less(arm[2.0], floors[data]))
            for data in apart:
                arm = measured[data, loss]
                yield _above(f"{loss}, {label(data)}: fall of between by doubling", [-c for c in change(arm)], FALLS)
            if len(self.overlaps) > 1:
                ends = self.overlaps[0], self.overlaps[-1]
                few, many = (_less(measured[overlap, loss][2.0], floors[overlap]) for overlap in ends)
                excess = [a - b for a, b in zip(few, many, strict=True)]
                yield _above(f"{loss}, ring: excess at overlap {ends[0]:g} - at {ends[1]:g}", excess, 0.1)
                name = f"{loss}, {label(ends[1])}: between at length 2 - perfect, mean"
                yield Row(name, many, 0.0, NEAR, on_mean=True)
        for (data, loss), arm in later.items():
            ends = zip(measured[data, loss][LOOKS[0]], arm[LOOKS[-1]], strict=False)  # of the seeds that have both
            name = f"{loss}, {label(data)}: fall of between in {self.longer} times the length"
            yield _above(name, [before - after for before, after in ends], FALLS)

    # --- figure -------------------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        measured, samples, later, floors = findings.data
        figure, axes = panels(3, 4, width=11.0, height=2.7)
        self._by_overlap(axes[0, 0], measured, floors)
        for ax, pair in zip(axes[0, 1:3], self.pairs, strict=False):
            self._by_length(ax, pair, measured, later, floors)
        self._change(axes[0, 3], measured)
        for ax, loss in zip(axes[1], self.losses, strict=False):
            if self.overlaps:
                ax.set_xlabel(label(self._drawn))
                _scatter(ax, self._drawn, samples[self._drawn, loss][0][-1], loss)
        for ax, loss in zip(axes[2], self.losses, strict=False):
            if self.pairs:
                _hybrids(ax, self.pairs[0], samples[self.pairs[0], loss][0][-1], loss)
        return figure

    @property
    def _drawn(self) -> float:
        return self.overlaps[len(self.overlaps) // 2]

    def _by_overlap(self, ax: Axes, measured: Measured, floors: dict[Data, float]) -> None:
        at = np.arange(len(self.overlaps))
        for k, (loss, colour) in enumerate(zip(self.losses, PENS, strict=False)):
            for look, style in ((1.0, "-"), (2.0, "--")):
                values = [mean_and_interval(measured[overlap, loss][look]) for overlap in self.overlaps]
                where = at + 0.06 * (k - 1.5)
                ax.errorbar(
                    where, [v[0] for v in values], [v[1] for v in values], color=colour, ls=style, capsize=2,
                    label=loss if look == 1 else None,
                )  # fmt: skip
        ax.plot(at, [floors[overlap] for overlap in self.overlaps], color="0.4", ls=":", label="perfect sampler")
        ax.plot([], [], color="0.4", ls="--", label="twice as long")
        ax.set_xticks(at, [f"{overlap:g}" for overlap in self.overlaps])
        ax.set(title="ring of 8: share between modes", xlabel="overlap of neighbours", ylim=(0, None))
        ax.legend(fontsize=6.5)

    def _by_length(self, ax: Axes, pair: Data, measured: Measured, later: Measured, floors: dict[Data, float]) -> None:
        for loss, colour in zip(self.losses, PENS, strict=False):
            shares = {self.iterations * look: v for look, v in measured[pair, loss].items()}
            for look, values in later.get((pair, loss), {}).items():
                shares.setdefault(self.iterations * self.longer * look, values)
            means, halves = zip(*map(mean_and_interval, shares.values()), strict=True)
            ax.errorbar(list(shares), means, halves, color=colour, capsize=2, marker="o", ms=3)
        ax.axhline(floors[pair], color="0.4", ls=":", label="training digits")
        ax.set(title=f"{label(pair)}: share between", xlabel="iterations", xscale="log", ylim=(0, 0.6))
        ax.minorticks_off()
        ticks = [self.iterations * f * look for f in (1, self.longer or 1) for look in LOOKS]
        ax.set_xticks(sorted(set(ticks)), [f"{tick:g}" for tick in sorted(set(ticks))])
        ax.legend(fontsize=6.5)

    def _change(self, ax: Axes, measured: Measured) -> None:
        names: list[Data] = [*self.pairs, *self.overlaps]
        for k, (loss, colour) in enumerate(zip(self.losses, PENS, strict=False)):
            found = [mean_and_interval(change(measured[data, loss])) for data in names]
            at = np.arange(len(names)) + 0.15 * (k - 1.5)
            ax.errorbar([v[0] for v in found], at, xerr=[v[1] for v in found], fmt="o", ms=3, color=colour, capsize=2)
        ax.axvline(0, color="0.6", lw=0.8)
        ax.set_yticks(range(len(names)), [label(data).removeprefix("overlap ") for data in names])
        ax.invert_yaxis()
        ax.set(title="change of the share by doubling")


def _less(shares: list[float], floor: float) -> list[float]:
    return [share - floor for share in shares]


def change(looks: dict[float, list[float]]) -> list[float]:
    """What doubling the run adds to the share between modes, by seed."""
    return [after - before for before, after in zip(looks[1.0], looks[2.0], strict=True)]


def perfect(data: Data) -> float:
    """Share between modes of the mixture's own samples, or of the digits that GANs are trained on."""
    if isinstance(data, float):
        return between(data, ring(data).truth.sample(10_000, keyed_generator("manifold_collapse", "perfect"))[0])
    return between(data, training(data)[0])


def training(pair: tuple[int, int]) -> tuple[Tensor, Tensor]:
    images, labels = digits(pair).load("train")
    assert isinstance(images, Tensor)
    assert labels is not None
    return images, labels


def averages(pair: tuple[int, int]) -> Tensor:
    """Of the pixels of a training digit of either class."""
    images, labels = training(pair)
    first, second = images[labels == 0], images[labels == 1]
    n = min(len(first), len(second))
    return (first[:n] + second[:n]) / 2


# --- rows -------------------------------------------------------------------------------------------------------------


def _metric_rows(floors: dict[Data, float]) -> Iterator[Row]:
    """The metric itself: on the data's own samples, and on averages of two digits."""
    for data, share in floors.items():
        if isinstance(data, float):
            error = 4 * math.sqrt(ALPHA * (1 - ALPHA) * 2 / len(reals(data)))
            yield Row(f"{label(data)}: between, of the mixture's own samples", share, ALPHA, error)
        else:
            yield Row(f"{label(data)}: between, of training digits", share)
            yield Row(f"{label(data)}: between, of averages of both", between(data, averages(data)), 0.6, relation=">=")


def _gan_rows(measured: Measured, when: str) -> Iterator[Row]:
    for (data, loss), looks in measured.items():
        for look, shares in looks.items():
            yield Row(f"{loss}, {label(data)}{when}: between, at length {look:g}", shares)
        yield Row(f"{loss}, {label(data)}{when}: change by doubling", change(looks))


def _above(name: str, differences: list[float], least: float = 0.0) -> Row:
    mean, half = mean_and_interval(differences)
    return Row(f"{name}, low end of the interval", mean if math.isnan(half) else mean - half, least, relation=">=")


# --- pictures ---------------------------------------------------------------------------------------------------------


def _scatter(ax: Axes, overlap: float, x: Tensor, loss: str) -> None:
    metric = judged(overlap, x)
    hybrid = torch.zeros(len(x), dtype=torch.bool)
    hybrid[metric.hybrids()] = True
    for rows, colour in ((~hybrid, "0.6"), (hybrid, COLOURS[1])):
        ax.plot(*x[rows].T.numpy(), ".", color=colour, ms=1.5)
    ax.plot(*ring(overlap).truth.means.T.numpy(), "+", color="k", ms=5)  # type: ignore[attr-defined]
    share = 100 * float(hybrid.double().mean())
    ax.set_title(f"{loss}: {share:.0f} % between")
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal", xticks=(), yticks=())


def _hybrids(ax: Axes, pair: tuple[int, int], x: Tensor, loss: str) -> None:
    """The most hybrid of the samples, four rows of four."""
    numbers = judged(pair, x).hybrids()
    shown = torch.ones(SHOWN, 10, 10)
    shown[: len(numbers), 1:9, 1:9] = 1 - x[numbers[:SHOWN], 0]
    side = int(SHOWN**0.5)
    ax.imshow(
        shown.view(side, side, 10, 10).transpose(1, 2).reshape(10 * side, 10 * side).numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
    )
    ax.set_title(f"{loss}: the most hybrid {pair[0]} / {pair[1]}")
    ax.axis("off")
