"""The samples themselves as features."""

from __future__ import annotations

from torch import Tensor, nn

from callbacks.metrics.extractors.base import Extractor


class Pixels(Extractor):
    """Flattened samples: for points in the plane and other data that need no network."""

    def __init__(self) -> None:
        super().__init__("pixels", None, nn.Identity(), value_range=None)

    def features(self, samples: Tensor) -> Tensor:
        return samples.flatten(1)
