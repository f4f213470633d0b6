"""Several metrics of the same samples, from one pass over them, against one split's reals."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.known import Known, NotApplicable
from callbacks.views import Views

#: the other side of each metric's reals: data that a perfect generator could have made
STANDS_FOR_GENERATED = {"held_out": "training", None: "training", "training": "held_out"}


class Evaluation:
    """Metrics that have seen the reals, and are shown generated samples again and again.

    Args:
        metrics: templates; they are cloned.
        known: what is known of data and features.
        device: of the metrics' states.
        strict: whether a metric that says nothing of these data, or has too few samples, is an error; else it is left
            out, and ``left_out`` says why.

    Raises:
        NotApplicable: a metric says nothing about such data (``strict``).
        ValueError: two metrics log under one name, which is known after the first values.
    """

    def __init__(
        self, metrics: Sequence[SampleMetric], known: Known, device: torch.device | str = "cpu", strict: bool = True
    ) -> None:
        self.strict = strict
        #: what makes metrics other ones than by default, by their class
        self.settings = {type(metric).__name__: given for metric in metrics if (given := metric.settings)}
        self._not_applicable: dict[str, str] = {}
        self._failed: dict[str, str] = {}  # with the latest samples
        self.metrics: list[SampleMetric] = []
        for template in metrics:
            metric = copy.deepcopy(template).to(device)
            metric.reset_real_features = True
            metric.reset()  # whatever the template has seen
            metric.reset_real_features = False
            try:
                metric.setup(known)
            except NotApplicable as reason:
                if strict:
                    raise
                self._not_applicable[type(metric).__name__] = str(reason)
                continue
            self.metrics.append(metric)

    @property
    def left_out(self) -> dict[str, str]:
        """Why a metric gave no values of the latest samples, by its class."""
        return self._not_applicable | self._failed

    def asks_for(self, split: str) -> bool:
        """Whether a metric's reals are of the ``held_out`` or the ``training`` split."""
        return any(metric.reals == split for metric in self.metrics)

    def see_reals(self, batches: Iterable[Views], split: str) -> None:
        """Show the reals of the ``held_out`` or the ``training`` split to the metrics that ask for them."""
        metrics = [metric for metric in self.metrics if metric.reals == split]
        for batch in batches if metrics else ():
            for metric in metrics:
                batch.update(metric, real=True)

    def values(self, batches: Iterable[Views]) -> dict[str, float]:
        """What each metric says of these samples, by log name.

        Raises:
            ValueError: a metric's inputs are wrong (named), or it has too few samples (``strict``).
        """
        values, self._failed = self._values(self.metrics, batches)
        return values

    def floors(self, training: Iterable[Views], held_out: Iterable[Views]) -> dict[str, float]:
        """What real samples score in place of generated ones: the other split than the one a metric compares with."""
        result: dict[str, float] = {}
        for split, batches in (("training", training), ("held_out", held_out)):
            metrics = [metric for metric in self.metrics if STANDS_FOR_GENERATED[metric.reals] == split]
            result |= self._values(metrics, batches if metrics else ())[0]
        return result

    def _values(
        self, metrics: Sequence[SampleMetric], batches: Iterable[Views]
    ) -> tuple[dict[str, float], dict[str, str]]:
        for metric in metrics:
            metric.reset()  # keeps the reals
        for batch in batches:
            for metric in metrics:
                batch.update(metric, real=False)
        result: dict[str, float] = {}
        failed: dict[str, str] = {}
        for metric in metrics:
            name = type(metric).__name__
            try:
                values = dict(_named(metric, metric.compute()))
            except ValueError as reason:
                if self.strict:
                    raise
                failed[name] = str(reason)
                continue
            if twice := sorted(values.keys() & result.keys()):
                raise ValueError(f"{name} logs {', '.join(twice)}, as another metric does: give one of them.")
            result |= values
        return result, failed


def _named(metric: SampleMetric, value: Tensor | dict[str, Tensor]) -> Iterator[tuple[str, float]]:
    for name, scalar in value.items() if isinstance(value, dict) else ((metric.name, value),):
        yield name, float(scalar)
