"""When a quantity has dropped beyond its noise: the rule of CollapseAlarm, on numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

_SUSTAINED = 3  # successive values that make a level


def sampling_error(value: float, n: int) -> float:
    """Standard error of a quantity that was estimated from ``n`` samples.

    A value up to 1 is a share, its error that of a binomial one, sqrt(p (1 - p) / n) at p = (1 + value n) / (2 + n),
    which is never quite 0 or 1. A value V above 1 is an effective number exp(H) of entropy H. Its error is V times that
    of H, whose variance is that of -log p over n: at most log(d - 1)^2 / 4 + 1 for d outcomes (Reeb and Wolf, 2015,
    1304.0036), taken at d = V + 1.
    """
    if value <= 1:
        p = (1 + max(value, 0.0) * n) / (2 + n)
        return math.sqrt(p * (1 - p) / n)
    return value * math.sqrt((math.log(value) ** 2 / 4 + 1) / n)


@dataclass(frozen=True)
class Drop:
    """One quantity at one evaluation, against the best level that it has held.

    Attributes:
        level: the best level so far, None before there is one.
        value: now.
        noise: standard deviation of value - level where nothing has changed.
        fallen: whether the drop is beyond noise and large.
        near: whether it is more than half of that: not to be trusted as a good state.
    """

    level: float | None
    value: float
    noise: float
    fallen: bool = False
    near: bool = False

    @property
    def share(self) -> float:
        """(level - value) / level: 0 at the level or above it, 1 where everything is lost."""
        return 0.0 if not self.level else max(0.0, (self.level - self.value) / self.level)


@dataclass
class _Course:
    """What is remembered of a quantity."""

    recent: list[float] = field(default_factory=list)
    level: float | None = None
    fallen: bool = False


class CollapseRule:
    """Tells, evaluation by evaluation, whether quantities of which more is better have dropped.

    A quantity's level is the highest value that three successive evaluations reached. Values above what the reals score
    count as that: a generator that is more diverse than the data, as a diffuse one is, may come down to them. The noise
    is the root of two variances: of sampling, at the level and at the value (see ``sampling_error``), and of the run:
    the mean over the last ``window`` values of the squared step down from the one before, 0 for a step up. That is the
    variance of values that fluctuate independently around their mean, and progress is no part of it.

    It has fallen where level - value is above both ``threshold`` x noise and ``least_drop`` x level, and has recovered
    at less than half of that. While it is fallen, level and noise stay those of before.

    The state is collapsed where at least ``agree`` quantities have fallen, until none of them is.

    A run that has not learnt has nothing to lose: nothing falls before every quantity's level has reached the share
    ``learnt`` of what the reals score, where that is known. So neither is a run accused that was in one mode from the
    start; its values stand beside the reals' in the logs.

    Args:
        threshold: in standard deviations of the noise, positive.
        least_drop: share of the level, in (0, 1).
        agree: number of quantities.
        window: values of which the fluctuation is taken.
        learnt: share of what the reals score, in [0, 1].
    """

    def __init__(
        self, threshold: float, least_drop: float, agree: int = 1, window: int = 20, learnt: float = 0.25
    ) -> None:
        if not threshold > 0:
            raise ValueError(f"threshold={threshold}: must be positive, in standard deviations of the noise.")
        if not 0 < least_drop < 1:
            raise ValueError(f"least_drop={least_drop}: a share of the best level, in (0, 1).")
        if agree < 1:
            raise ValueError(f"agree={agree}: at least 1 quantity has to drop.")
        if window < _SUSTAINED:
            raise ValueError(f"window={window}: at least {_SUSTAINED} evaluations.")
        if not 0 <= learnt <= 1:
            raise ValueError(f"learnt={learnt}: a share of what the reals score, in [0, 1].")
        self.threshold, self.least_drop, self.agree = threshold, least_drop, agree
        self.window, self.learnt = window, learnt
        self.collapsed = False
        self._courses: dict[str, _Course] = {}

    def see(
        self, values: Mapping[str, float], n: int | None = None, floors: Mapping[str, float] | None = None
    ) -> dict[str, Drop]:
        """Take the values of an evaluation; ``collapsed`` says what follows. Those that are not finite are left out.

        Args:
            values: by name.
            n: samples of which each was estimated; without it there is no sampling error.
            floors: what the reals score, where that is known.
        """
        floors = floors or {}
        seen = {name: min(value, floors.get(name, value)) for name, value in values.items() if math.isfinite(value)}
        for name in seen:
            self._courses.setdefault(name, _Course())
        learnt = all((self._courses[name].level or 0.0) >= self.learnt * floors.get(name, 0.0) for name in seen)
        drops = {name: self._judged(name, value, n, learnt) for name, value in seen.items()}
        self.collapsed = len(self.fallen) >= (1 if self.collapsed else self.agree)
        return drops

    @property
    def fallen(self) -> list[str]:
        """Names of the quantities that have fallen and not recovered."""
        return [name for name, course in self._courses.items() if course.fallen]

    def _judged(self, name: str, value: float, n: int | None, learnt: bool) -> Drop:
        course = self._courses[name]
        if course.level is None or not learnt:
            drop = Drop(None, value, 0.0)
        else:
            drop = self._drop(course, course.level, value, n)
            course.fallen = drop.near if course.fallen else drop.fallen
        if not course.fallen:
            course.recent = [*course.recent, value][-self.window :]
            if len(course.recent) >= _SUSTAINED:
                course.level = max(min(course.recent[-_SUSTAINED:]), course.level or 0.0)
        return drop

    def _drop(self, course: _Course, level: float, value: float, n: int | None) -> Drop:
        steps = [max(0.0, before - after) for before, after in pairwise(course.recent)]
        variance = fmean(step**2 for step in steps)
        if n is not None:
            variance += sampling_error(level, n) ** 2 + sampling_error(value, n) ** 2
        noise = math.sqrt(variance)
        loss, limit = level - value, max(self.threshold * noise, self.least_drop * level)
        return Drop(level, value, noise, fallen=loss > limit, near=loss > limit / 2)

    def state_dict(self) -> dict[str, Any]:
        courses = {name: dict(vars(course)) for name, course in self._courses.items()}
        return {"collapsed": self.collapsed, "courses": courses}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.collapsed = state["collapsed"]
        self._courses = {name: _Course(**course) for name, course in state["courses"].items()}
