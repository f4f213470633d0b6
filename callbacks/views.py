"""What metrics see of a batch of samples, each computed once however many metrics ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.extractors import Classifier, Extractor
from callbacks.metrics.moments import where_float64_is

_NAMES = ("samples", "features", "probabilities", "modes", "labels", "index")


class Views:
    """A batch of data-space samples and, by name, the views of it that a ``SampleMetric`` may ask for.

    Args:
        samples: (N, *shape), on the extractor's device.
        extractor: gives features, and class probabilities where it is a Classifier.
        index: (N,) int64, the samples' numbers in the whole sequence.
        labels: (N,) int64 of a class-conditional sample, or None.
        assign: the mode of each sample, from the datamodule's truth; the extractor's classes where None.
        features: (N, d) where they are known already.
    """

    def __init__(
        self,
        samples: Tensor,
        extractor: Extractor,
        *,
        index: Tensor,
        labels: Tensor | None = None,
        assign: Callable[[Tensor], Tensor] | None = None,
        features: Tensor | None = None,
    ) -> None:
        self.samples, self.extractor, self.index, self.labels, self._assign = samples, extractor, index, labels, assign
        if features is not None:
            self.features = features

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def features(self) -> Tensor:
        """(N, d) float32."""
        result: Tensor = self.extractor(self.samples)
        return result

    @cached_property
    def probabilities(self) -> Tensor:
        """(N, K) float32, of the extractor's classes."""
        if not isinstance(self.extractor, Classifier):
            raise TypeError(f"{type(self.extractor).__name__} is no Classifier: it has no class probabilities.")
        return self.extractor.probabilities_of(self.features)

    @cached_property
    def modes(self) -> Tensor:
        """(N,) int64, -1 where a sample is of no mode."""
        return self.probabilities.argmax(1) if self._assign is None else self._assign(where_float64_is(self.samples))

    def update(self, metric: SampleMetric, real: bool) -> None:
        """Show the metric what it sees.

        Raises:
            ValueError: there is no such view of these samples.
        """
        views = [getattr(self, name) if name in _NAMES else None for name in metric.sees]
        for name, view in zip(metric.sees, views, strict=True):
            if view is None:
                raise ValueError(
                    f"{type(metric).__name__} sees {name!r}, which these samples do not have: leave the metric out"
                    + (", or take data with labels." if name == "labels" else f"; there are {', '.join(_NAMES)}.")
                )
        metric.update(views[0], real, *views[1:])
