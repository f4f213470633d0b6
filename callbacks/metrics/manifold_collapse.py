"""How many samples lie between modes, where the data have few or none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY, SampleMetric
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.nearest import neighbours
from callbacks.metrics.reservoir import least
from callbacks.metrics.valleys import Valleys, upper_quantile

_SHARE = 0.2  # of an even share: what a class needs among the reals to be a mode, and a few mistakes do not reach
_APART = 0.01  # share of reals that are farther from the line between two centres than what is between these may be
_LEAST = torch.finfo(torch.float32).tiny  # a probability whose logarithm is finite
Placed = tuple[Tensor, Tensor, Tensor]  # how far between two modes, 0 for not, (N,), and which two, (N,) each


class ManifoldCollapse(SampleMetric):
    """Share of generated samples between modes: hybrids, such as a digit that is half a 3 and half a 5.

    ``compute`` gives ``between``, a float64 scalar in [0, 1]: the share, among generated samples. A generator that
    equals the data has ``alpha``, the share of the reals by which the threshold is chosen, up to
    sqrt(alpha (1 - alpha) (1 / n + 1 / m)) for n reals and m samples.

    A sample lies between two modes if it is near the segment between their centres, and a score is above what all but
    ``alpha`` of the reals have.

    Where the density is known, by a ``truth``: the modes are that of the nearest centre, a, and that of the centre b
    for which the sample x projects nearest to the middle of the segment. Near is (a - x).(b - x) <= s, which with
    s = 0 is the ball that has the segment as a diameter; s is the 1 - ``alpha`` quantile of the data's squared
    distances to the nearest centre. Every point of the convex hull of the centres is in such a ball of its nearest one,
    and noise far from all is in none. The score is the depth of the valley: the nats by which the density where x
    projects is below the lower of the maxima on both sides. Modes that overlap so much that no valley is left have
    nothing between them.

    Where it is not known, by a classifier: modes are the classes that occur among the reals, with at least a fifth of
    an even share; the two are the most probable of them, and their centres means of real features. Near is to project
    onto the segment and to be no farther from it than 99 % of the reals. The score says that the sample is
    ambiguous and that it is far from all reals: with A the share of reals whose log odds of the two are no larger, and
    F that of reals no nearer to another real than the sample to its nearest, it is 1 - max(A, F). What is noise to the
    eye can be between modes in features: measure the extractor on it.

    A generator that drops modes, and makes the others well, stays at the floor: see ``ModeCoverage`` for those.

    Args:
        alpha: share of reals that count as between modes, in (0, 0.5).
        truth: what knows ``means`` (K, d) of the modes, ``log_density`` and ``sample``; from ``setup`` if None.
        capacity: of rows that are kept of each side.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: alpha or the capacity out of range, or a truth of one mode.
    """

    sees: Sequence[str] = ("features", "probabilities", "index")
    higher_is_better = False
    real_classes: Tensor

    def __init__(
        self,
        alpha: float = 0.05,
        truth: Any = None,
        capacity: int = CAPACITY,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha={alpha} must be in (0, 0.5).")
        self.alpha = alpha
        self._valleys: Valleys | None = None
        self.add_state("real_classes", torch.zeros(0, dtype=torch.int64), dist_reduce_fx="sum")
        for side in ("real", "fake"):
            self.add_rows(side, capacity)
        if truth is not None:
            self._see_samples(truth)

    def setup(self, known: Known) -> None:
        """See the samples themselves where their density and modes are known, else features and class probabilities.

        Raises:
            NotApplicable: neither is there, or one mode only.
        """
        if self._valleys is None and all(hasattr(known.truth, name) for name in ("means", "log_density", "sample")):
            self._see_samples(known.truth)
        elif self._valleys is None and not known.has_modes:
            raise NotApplicable("ManifoldCollapse needs modes: known ones, or a Classifier of these data")
        super().setup(known)

    def _see_samples(self, truth: Any) -> None:
        if len(truth.means) < 2:
            raise NotApplicable("ManifoldCollapse: nothing is between fewer than 2 modes, and the truth has 1")
        self._valleys = Valleys(truth, self.alpha)
        self.sees = ("samples", "index")

    def update(self, x: Tensor, real: bool, *views: Tensor) -> None:
        """Keep what places a batch: with a truth ``update(samples, real, index)``, else as follows.

        Args:
            x: features (N, d), floating, or samples (N, ...) of the truth's data space.
            real: whether they are of reals.
            views: without a truth first class probabilities (N, K). Last, and optional, the numbers (N,) of the rows in
                the whole sequence.

        Raises:
            ValueError: of wrong shapes, or not finite.
        """
        if self._valleys is not None:
            rows = torch.stack(self._valleys.placed(x), 1).float()
        else:
            rows, views = self._with_classes(x, real, *views), views[1:]
        self.keep("real" if real else "fake", self.checked(rows), *views)

    def _with_classes(self, features: Tensor, real: bool, *views: Tensor) -> Tensor:
        """Features and log probabilities, (N, d + K)."""
        shapes = [tuple(view.shape) for view in (features, *views[:1])]
        if [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != shapes[1][0]:
            raise ValueError(
                "ManifoldCollapse.update(features, real, probabilities, index=None) got shapes "
                f"{' and '.join(map(str, shapes))}: give (N, d), and the (N, K) of a Classifier, or else a truth to "
                "the constructor."
            )
        features = features.double() if features.dtype == torch.float64 else features.float()
        if real:
            counts = torch.bincount(views[0].argmax(1), minlength=views[0].shape[1]).to(self.real_classes)
            if len(self.real_classes) not in (0, len(counts)):
                raise ValueError(f"probabilities are of K={len(counts)} classes, not of {len(self.real_classes)}.")
            self.real_classes = counts + (self.real_classes if len(self.real_classes) else 0)
        return torch.cat([features, views[0].to(features).clamp(min=_LEAST).log()], 1)

    def compute(self) -> dict[str, Tensor]:
        """The share, by name.

        Raises:
            ValueError: no generated samples, fewer than 1 / alpha reals, or reals of one class only.
        """
        return {"between": self._judged()[0].double().mean()}

    def pairs(self) -> Tensor:
        """Share of generated samples between modes i and j, (K, K) float64, symmetric: its upper half sums to all.

        Raises:
            ValueError: as ``compute``.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            hybrid, (_, first, second) = self._judged()
            modes = len(self.real_classes if self._valleys is None else self._valleys.means)
        pair = first[hybrid].long() * modes + second[hybrid].long()
        table = torch.bincount(pair, minlength=modes**2).view(modes, modes).double() / len(hybrid)
        return table + table.T

    def hybrids(self) -> Tensor:
        """Numbers (h,) of the generated samples between modes in the whole sequence of them, the most between first.

        Raises:
            ValueError: as ``compute``.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            hybrid, (score, *_) = self._judged()
            numbers = least(*self._got("fake"), self._capacities["fake"])[1]
        return numbers[hybrid][score[hybrid].argsort(descending=True, stable=True)]

    def _judged(self) -> tuple[Tensor, Placed]:
        """Which generated samples are between modes, and how they were placed."""
        real, fake = self.kept("real"), self.kept("fake")
        self.require(False, len(fake), 1)
        self.require(True, len(real), math.ceil(1 / self.alpha))
        placed = self._by_density if self._valleys is not None else self._by_classifier
        (score, *_), generated = placed(real, fake)
        threshold = upper_quantile(score, self.alpha).clamp(min=0)
        return generated[0] > threshold, generated

    @staticmethod
    def _by_density(real: Tensor, fake: Tensor) -> tuple[Placed, Placed]:
        return real.unbind(1), fake.unbind(1)  # type: ignore[return-value]

    def _by_classifier(self, real: Tensor, fake: Tensor) -> tuple[Placed, Placed]:
        width = real.shape[1] - len(self.real_classes)
        shares = self.real_classes / self.real_classes.sum()
        modes = (shares * len(shares) >= _SHARE).nonzero().squeeze(1)
        if len(modes) < 2:
            raise ValueError(
                f"ManifoldCollapse finds {len(modes)} class(es) with a fifth of an even share of the reals, and "
                "nothing is between fewer than 2 modes: take a classifier that tells the data apart."
            )
        sides = [(rows[:, :width], *rows[:, width:][:, modes].topk(2)) for rows in (real, fake)]
        centres = _means(sides[0][0], sides[0][2][:, 0], len(modes))
        features = sides[0][0]
        distances = neighbours(features)[0], neighbours(sides[1][0], among=features)[0]
        odds = [likely[:, 0] - likely[:, 1] for _, likely, _ in sides]
        along, off = zip(
            *(_on_segment(x, centres[best[:, 0]], centres[best[:, 1]]) for x, _, best in sides), strict=True
        )
        spread = upper_quantile(off[0], _APART)
        result = []
        for k, (_, _, best) in enumerate(sides):
            between = (along[k] > 0) & (along[k] < 1) & (off[k] <= spread)
            score = 1 - torch.maximum(_share(odds[0], odds[k]), _share(-distances[0], -distances[k]))
            result.append((score * between, modes[best[:, 0]], modes[best[:, 1]]))
        return result[0], result[1]


def _means(x: Tensor, group: Tensor, groups: int) -> Tensor:
    """Mean of the rows (N, d) of each group, (groups, d)."""
    own = torch.nn.functional.one_hot(group, groups).to(x)
    return own.T @ x / own.sum(0)[:, None].clamp(min=1)


def _on_segment(x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Where rows (N, d) project between a at 0 and b at 1, and their squared distance from the line, (N,) each."""
    way = b - a
    along = ((x - a) * way).sum(1) / way.square().sum(1)
    return along, (x - a - along[:, None] * way).square().sum(1)


def _share(reals: Tensor, values: Tensor) -> Tensor:
    """Share of the reals' values (n,) that are no larger than each of the values (m,)."""
    return torch.searchsorted(reals.sort().values, values, right=True).double() / len(reals)
