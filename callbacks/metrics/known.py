"""What is known of the data and the features before a metric sees any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class NotApplicable(ValueError):
    """A metric says nothing about such data or features."""


@dataclass(frozen=True)
class Known:
    """What is known beforehand.

    Attributes:
        truth: the datamodule's exact knowledge of its modes (``assign``, ``num_modes``, ``log_density``, and of
            manifolds ``geodesic``), or None.
        extractor_classes: number of classes of the extractor; None where it is no Classifier.
        classes_are_modes: whether these classes are those of the data, and so its modes.
        num_classes: number of classes of a class-conditional generator, else None.
        shape: of a sample in data space, (C, H, W) for images.
    """

    truth: Any = None
    extractor_classes: int | None = None
    classes_are_modes: bool = True
    num_classes: int | None = None
    shape: tuple[int, ...] = ()

    @property
    def classifies(self) -> bool:
        """Whether the extractor gives class probabilities."""
        return self.extractor_classes is not None

    @property
    def has_modes(self) -> bool:
        """Whether samples can be told their modes."""
        return self.truth is not None or (self.classifies and self.classes_are_modes)
