"""Argument and data checks: each error names what is wrong, its value, and the fix."""

from __future__ import annotations

import torch
from torch import Tensor


def require_positive(**values: float | None) -> None:
    """Raise ValueError unless every value is positive and finite, or None."""
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be positive and finite, got {value}")


def check_split(
    split: str,
    samples: Tensor,
    labels: Tensor | None,
    shape: tuple[int, ...],
    num_classes: int | None,
    value_range: tuple[float, float] | None,
) -> None:
    """Check what a data module's `load` returned against what it promises.

    Raises:
        ValueError: samples not (N, *shape) with N > 0, floating point, finite and inside value_range; labels present
            without num_classes or missing with it, or not (N,) int64 in [0, num_classes).
    """
    _check_samples(split, samples, shape, value_range)
    _check_labels(split, labels, len(samples), num_classes)


def _check_samples(
    split: str, samples: Tensor, shape: tuple[int, ...], value_range: tuple[float, float] | None
) -> None:
    if tuple(samples.shape[1:]) != tuple(shape) or samples.ndim == 0:
        raise ValueError(
            f"{split} samples have shape {tuple(samples.shape)}, expected (N, {', '.join(map(str, shape))}); "
            "return that from load() or correct the data module's shape"
        )
    if len(samples) == 0:
        raise ValueError(f"the {split} split has 0 samples; load() must return at least one")
    if not samples.is_floating_point():
        raise ValueError(f"{split} samples are {samples.dtype}; convert them in load(), images as x.float() / 255")
    if bad := int((~samples.isfinite()).sum()):
        raise ValueError(f"{split} samples hold {bad} NaN or infinite values; drop or repair them in load()")
    low, high = samples.min().item(), samples.max().item()
    if value_range is not None and not value_range[0] <= low <= high <= value_range[1]:
        raise ValueError(f"{split} samples span [{low:g}, {high:g}], outside {value_range}; rescale them in load()")


def _check_labels(split: str, labels: Tensor | None, size: int, num_classes: int | None) -> None:
    if labels is None or num_classes is None:
        if (labels is None) != (num_classes is None):
            raise ValueError(
                f"num_classes is {num_classes} but load({split!r}) returned {'no' if labels is None else 'some'} "
                "labels; use None for both or for neither"
            )
        return
    if labels.shape != (size,) or labels.dtype != torch.int64:
        raise ValueError(f"{split} labels are {labels.dtype} {tuple(labels.shape)}, expected torch.int64 ({size},)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"{split} labels span [{low}, {high}], expected [0, {num_classes - 1}]; correct num_classes")
