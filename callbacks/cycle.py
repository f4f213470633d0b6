"""The period at which players return, read off their trajectory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.fft import rfft
from torch import Tensor, nn

from gan_modules.batch import key

Array = np.ndarray[Any, np.dtype[np.float64]]

#: turns that the shortest window in which a period is looked for must hold, and iterations of the shortest of all
TURNS, SHORTEST = 8, 32
#: the latest half-overlapping segments that a periodogram is averaged over
SEGMENTS = 4
#: share of the clearest line's clearness from which on another is as clear
_CLEAR = 0.7
#: part of a turn by which a whole number of iterations may miss a whole number of turns
_OFF, _MOST_TURNS = 0.05, 4


@dataclass(frozen=True)
class Cycle:
    """What returns in a series.

    Attributes:
        period: iterations of a turn, at least 2; NaN where no frequency stands out at all.
        strength: share of the motion that is that cycle, in [0, 1]: a clean one has 1; noise, a trend, a random walk
            come to .1 where 32 independent numbers are recorded, seldom to .4 where there is one.
        amplitude: root mean square of each number's motion at the period and faster, shape (n,), in the last quarter of
            the series.
    """

    period: float
    strength: float
    amplitude: Array


def dominant_cycle(series: Array) -> Cycle:
    """The strongest cycle in the latest part of a series of n numbers.

    A window must hold 8 turns, so windows of all octaves are tried: slow cycles are looked for in long ones, fast ones
    in short ones, where a slow change of the period does not matter. In each, Hann periodograms of the differences,
    which make a random walk white, are averaged over numbers and segments. The strength is the smaller of two shares:
    of the power within an octave on either side that is in the line, less what noise would have there; and the
    autocorrelation after a turn of what is left when the moving mean over a turn is taken off. What dies out counts
    less, by the size of that motion in the last quarter of the series over that in all of it.

    Args:
        series: shape (T, n), oldest first.

    Returns:
        The cycle; of strength 0 where there are fewer than 33 finite iterations or nothing moves.
    """
    nothing = Cycle(math.nan, 0.0, np.zeros(series.shape[1]))
    if len(series) <= SHORTEST or not np.isfinite(series).all():
        return nothing
    steps = np.diff(series, axis=0)
    peaks = [peak for window in _windows(len(steps)) for peak in _peaks(steps, *window)]
    clearest = max((peak.share for peak in peaks), default=0.0)
    if not clearest > 0:
        return nothing
    # of a cycle's harmonics, which are lines as clear as itself, the one that moves the players most
    peak = max((peak for peak in peaks if peak.share >= _CLEAR * clearest), key=lambda peak: peak.power)
    motion, lag = _motion(series, peak.period)
    seen, latest = motion[-max(peak.span, 2 * lag + 1) :], motion[-(len(motion) // 4) :]
    lasting = min(1.0, _size(latest) / _size(motion))
    strength = lasting * min(peak.share, _correlation(seen[:-lag], seen[lag:]))
    return Cycle(peak.period, max(0.0, strength), np.sqrt((latest**2).mean(0)))


@dataclass(frozen=True)
class _Peak:
    """A line in a window's spectrum: its share of the octaves around it, and of the motion."""

    share: float
    period: float
    power: float
    #: the latest iterations that it was seen in
    span: int


def _windows(length: int) -> Iterator[tuple[int, bool]]:
    """Even lengths of windows, octave by octave; whether it is the last."""
    half = length // 2
    while half >= SHORTEST // 2:
        yield 2 * half, half // 2 < SHORTEST // 2
        half //= 2


def _peaks(steps: Array, length: int, last: bool) -> Iterator[_Peak]:
    """The peaks of a window's spectrum at which it holds enough turns."""
    power, span = _periodogram(steps, length)
    nyquist = length // 2
    mirrored = np.append(power, power[-2])
    for k in range(TURNS, nyquist + 1 if last else 2 * TURNS + 1):
        left, middle, right = mirrored[k - 1 : k + 2]
        if not middle >= max(left, right) or middle <= 0:
            continue
        low, high = k // 2, min(2 * k, nyquist)
        line = slice(k - 1, min(k + 1, nyquist) + 1)
        by_chance = (line.stop - line.start) / (high - low + 1)
        share = power[line].sum() / power[low : high + 1].sum()
        # a step is 2 sin(pi / period) times the motion, and a line's height grows as the window's length squared
        moved = power[k] / (length * math.sin(math.pi * k / length)) ** 2
        period = length / (k + _offset(left, middle, right))
        yield _Peak(float((share - by_chance) / (1 - by_chance)), float(period), float(moved), span + 1)


def _offset(left: float, middle: float, right: float) -> float:
    """Where between three bins of a Hann periodogram its peak is: the vertex of the parabola through the logarithms."""
    a, b, c = np.log(np.maximum((left, middle, right), 1e-12 * middle))
    curvature = a - 2 * b + c
    return 0.5 * float((a - c) / curvature) if curvature < 0 else 0.0


def _periodogram(steps: Array, length: int) -> tuple[Array, int]:
    """Power at 0 to length / 2 turns, shape (length / 2 + 1,), and the iterations that it is of."""
    starts = list(range(len(steps) - length, -1, -length // 2))[:SEGMENTS]
    window = np.hanning(length + 1)[:-1]
    time = np.linspace(-1, 1, length)
    total = np.zeros(length // 2 + 1)
    for start in starts:
        part = steps[start : start + length].T
        part = part - part.mean(1, keepdims=True)
        part = part - np.outer(part @ time / (time @ time), time)
        total += (np.abs(rfft((window * part).astype(np.float32))) ** 2).sum(0, dtype=np.float64)
    return total, len(steps) - starts[-1]


def _motion(series: Array, period: float) -> tuple[Array, int]:
    """The series less its moving mean over whole turns, and the iterations of those: the fewest that nearly fit."""
    turns = min(range(1, _MOST_TURNS + 1), key=lambda m: (max(_miss(m, period), _OFF), m))
    lag = max(round(turns * period), 2)
    centred = series - series.mean(0)
    sums = np.cumsum(np.vstack([np.zeros((1, series.shape[1])), centred]), axis=0)
    means = (sums[lag:] - sums[:-lag]) / lag
    if lag % 2 == 0:
        means = (means[1:] + means[:-1]) / 2  # centred on an iteration
    return centred[lag // 2 : lag // 2 + len(means)] - means, lag


def _correlation(before: Array, after: Array) -> float:
    norm = math.sqrt(float((before**2).sum()) * float((after**2).sum()))
    return float((before * after).sum()) / norm if norm > 0 else 0.0


def _size(motion: Array) -> float:
    return max(float(np.sqrt((motion**2).mean())), 1e-300)


def _miss(turns: int, period: float) -> float:
    return abs(turns * period - round(turns * period)) / period


class Trajectory:
    """The latest positions of a few of each player's parameters, kept on their device.

    An iteration costs one concatenation of views. The coordinates are spread evenly over each tensor, in proportion to
    its size but one at least; ``weights`` make sums over them estimates of sums over all parameters.

    Args:
        players: whose parameters that are trained are recorded.
        coordinates: of each player; all where it has no more.
        capacity: iterations that are kept.
    """

    def __init__(self, players: Sequence[nn.Module], coordinates: int = 64, capacity: int = 4096) -> None:
        self._players = [[p for p in player.parameters() if p.requires_grad] for player in players]
        self.coordinates, self.capacity = coordinates, capacity
        views = [self._views(parameters) for parameters in self._players]
        self.sizes = [sum(map(len, of_player)) for of_player in views]
        self.weights = [
            np.concatenate([np.full(len(v), p.numel() / len(v)) for v, p in zip(of_player, parameters, strict=True)])
            if of_player
            else np.zeros(0)
            for of_player, parameters in zip(views, self._players, strict=True)
        ]
        self._flat = [view for of_player in views for view in of_player]
        self._rows: Tensor | None = None
        if self._flat:
            like = torch.cat([view[:1] for view in self._flat])
            dtype = like.dtype if like.dtype == torch.float64 else torch.float32
            self._rows = torch.empty(capacity, sum(self.sizes), dtype=dtype, device=like.device)
        self._taken = 0

    def __len__(self) -> int:
        return min(self._taken, self.capacity)

    @torch.no_grad()
    def record(self) -> None:
        """Keep where the players are now, in place of the oldest position where there is no more room."""
        if self._rows is not None:
            self._rows[self._taken % self.capacity].copy_(torch.cat(self._flat))
        self._taken += 1

    def positions(self) -> list[Array]:
        """Each player's coordinates at the latest iterations, oldest first: (T, n) each, float64."""
        if self._rows is None:
            return [np.zeros((len(self), 0)) for _ in self.sizes]
        first = self._taken % self.capacity if self._taken > self.capacity else 0
        rows = torch.cat([self._rows[first : len(self)], self._rows[:first]]).cpu().double().numpy()
        return np.split(rows, np.cumsum(self.sizes)[:-1], axis=1)

    def _views(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Views of each tensor at evenly spread places."""
        total = sum(p.numel() for p in parameters)
        views = []
        for i, parameter in enumerate(parameters):
            size = parameter.numel()
            n = min(size, max(1, self.coordinates * size // total))
            step = size // n
            while math.gcd(step, size) > 1 and step > 1:  # not all in one row or column of a matrix
                step -= 1
            start = key("trajectory", i) % (size - (n - 1) * step)
            by_stride = sorted(range(parameter.ndim), key=parameter.stride().__getitem__, reverse=True)
            views.append(parameter.detach().permute(by_stride).view(-1)[start::step][:n])
        return views
