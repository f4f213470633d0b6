"""Argument and data checks: each error names what is wrong, its value, and the fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor


def require_positive(**values: float | None) -> None:
    """Raise ValueError unless every value is positive and finite, or None."""
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def kind_of(value: Any) -> str:
    """The value's type, with those of a tuple's or list's parts: (Tensor, int)."""
    if isinstance(value, (tuple, list)):
        return f"({', '.join(type(part).__name__ for part in value[:3])}{', ...' if len(value) > 3 else ''})"
    return type(value).__name__


def is_batch(value: Any) -> TypeGuard[tuple[Tensor, Tensor | None]]:
    """Whether it is a pair of samples and labels, or of samples and None."""
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    return pair and isinstance(value[0], Tensor) and (value[1] is None or isinstance(value[1], Tensor))


@dataclass(frozen=True)
class Promise:
    """What a data module says of its samples, and the checks that hold `load` to it.

    Attributes:
        shape: of one sample.
        num_classes: None for samples without labels.
        value_range: least and greatest value in data space, where there is a bound.
    """

    shape: tuple[int, ...]
    num_classes: int | None
    value_range: tuple[float, float] | None

    def check(self, split: str, samples: Tensor, labels: Tensor | None) -> None:
        """Check a whole split.

        Raises:
            ValueError: no samples at all, labels without num_classes or the reverse, or what `check_samples` and
                `check_labels` refuse.
        """
        self.check_samples(f"{split} samples", samples)
        if len(samples) == 0:
            raise ValueError(f"the {split} split has 0 samples; load() must return at least one")
        if (labels is None) != (self.num_classes is None):
            raise ValueError(
                f"num_classes is {self.num_classes} but load({split!r}) returned {'no' if labels is None else 'some'} "
                "labels; use None for both or for neither"
            )
        if labels is not None:
            self.check_labels(f"{split} labels", labels, len(samples))

    def check_item(self, what: str, item: Any) -> None:
        """Raise ValueError unless a Dataset's item is a Tensor, or where there are classes (Tensor, label)."""
        pair = isinstance(item, (tuple, list)) and len(item) == 2
        sample = item if self.num_classes is None else item[0] if pair else None
        if not isinstance(sample, Tensor):
            raise ValueError(
                f"{what} is {kind_of(item)}, expected {'a Tensor' if self.num_classes is None else '(Tensor, label)'} "
                f"where num_classes is {self.num_classes}; return that from __getitem__ or correct num_classes"
            )

    def check_samples(self, what: str, samples: Tensor) -> None:
        """Raise ValueError unless samples are (N, *shape), and of uint8 in [0, 1] or finite and inside value_range."""
        if samples.ndim == 0 or tuple(samples.shape[1:]) != tuple(self.shape):
            raise ValueError(
                f"{what} have shape {tuple(samples.shape)}, expected (N, {', '.join(map(str, self.shape))}); "
                "return that from load() or correct the data module's shape"
            )
        if samples.dtype == torch.uint8:
            if self.value_range != (0.0, 1.0):
                raise ValueError(
                    f"{what} are torch.uint8, which stands for x / 255 in (0, 1), but value_range is "
                    f"{self.value_range}; set it to (0.0, 1.0), or return floating-point samples"
                )
            return
        if not samples.is_floating_point():
            raise ValueError(f"{what} are {samples.dtype}; pass uint8 images, or floating-point samples")
        if bad := int((~samples.isfinite()).sum()):
            first = int((~samples.flatten(1).isfinite().all(1)).nonzero()[0])
            raise ValueError(
                f"{what} hold {bad} NaN or infinite values, the first in sample {first}; drop or repair them"
            )
        if self.value_range is None or samples.numel() == 0:
            return
        low, high = samples.min().item(), samples.max().item()
        if not self.value_range[0] <= low <= high <= self.value_range[1]:
            raise ValueError(f"{what} span [{low:g}, {high:g}], outside {self.value_range}; rescale them")

    def check_labels(self, what: str, labels: Tensor, size: int) -> None:
        """Raise ValueError unless labels are (size,) int64 in [0, num_classes)."""
        if labels.shape != (size,) or labels.dtype != torch.int64:
            raise ValueError(f"{what} are {labels.dtype} {tuple(labels.shape)}, expected torch.int64 ({size},)")
        low, high = int(labels.min()), int(labels.max())
        if self.num_classes is not None and (low < 0 or high >= self.num_classes):
            remedy = "number the classes from 0 on" if low < 0 else "correct num_classes"
            raise ValueError(f"{what} span [{low}, {high}], expected [0, {self.num_classes - 1}]; {remedy}")
