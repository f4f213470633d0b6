"""Frechet distance class by class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.frechet_distance import FrechetMetric
from callbacks.metrics.gaussian import frechet_distance
from callbacks.metrics.known import Known
from callbacks.metrics.moments import ROWS


class ClassConditionalFID(FrechetMetric):
    """FID between the generated and the real samples of each class (intra-FID, Miyato and Koyama, 2018, 1802.05637).

    FID of all samples does not see a generator that confuses classes, or collapses within one of many. ``compute``
    gives float64 scalars >= 0, in squared units of the features:

    - ``fid_class_mean``: mean over classes.
    - ``fid_class_worst``: that of the class where it is largest.

    It falls with the number of samples of a class, as any FID does: compare at equal numbers only.

    A class takes its samples or (d + 1)^2 float64 numbers of each side, whichever is less: 34 MB at d = 2048.

    Args:
        num_classes: K; that of the generator if None (see ``setup``).
        max_memory: GiB that moments of all classes may take on a process.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: no classes.
    """

    sees = ("features", "labels")

    def __init__(
        self,
        num_classes: int | None = None,
        max_memory: float = 4.0,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        self.num_classes = 0
        self.max_memory = max_memory
        if num_classes is not None:
            self._add_classes(num_classes)

    def setup(self, known: Known) -> None:
        """Take the number of classes, unless the constructor was given it."""
        super().setup(known)
        if not self.num_classes and known.num_classes is not None:
            self._add_classes(known.num_classes)

    def _add_classes(self, num_classes: int) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1.")
        self.num_classes = num_classes
        for side in ("real", "fake"):
            for k in range(num_classes):
                self.add_moments(f"{side}_{k}")

    def update(self, features: Tensor, real: bool, labels: Tensor) -> None:
        """Accumulate features (N, d) of real or of generated samples of classes (N,), integers in [0, K).

        Raises:
            ValueError: features not 2-D, of another d than before or not finite; labels of another length, not integers
                or out of range; no number of classes; moments that would take more than ``max_memory``.
        """
        if not self.num_classes:
            raise ValueError("ClassConditionalFID does not know its classes: give num_classes=, or call setup(known).")
        rows = self.checked(features)
        if labels.shape != (len(rows),) or labels.is_floating_point() or labels.dtype == torch.bool:
            raise ValueError(
                f"labels of shape {tuple(labels.shape)} and {labels.dtype} must be ({len(rows)},) integers."
            )
        if (outside := (labels < 0) | (labels >= self.num_classes)).any():
            raise ValueError(
                f"labels have the value {int(labels[outside][0])}, and num_classes={self.num_classes} allows 0 to "
                f"{self.num_classes - 1}."
            )
        side, labels = "real" if real else "fake", labels.to(rows.device)
        parts = {f"{side}_{k}": rows[labels == k] for k in sorted(set(labels.tolist()))}
        self._check_memory(parts, rows.shape[1])
        for name, part in parts.items():
            self.extend(name, part)

    def compute(self) -> dict[str, Tensor]:
        """The two values, by name.

        Raises:
            ValueError: a class has fewer than two samples of a side.
        """
        classes = range(self.num_classes)
        for side in ("real", "fake"):
            for k in classes:
                self.require(side == "real", self.num_rows(f"{side}_{k}"), 2, f"the covariance of class {k}")
        distances = [frechet_distance(self.gaussian(f"real_{k}"), self.gaussian(f"fake_{k}")) for k in classes]
        values = torch.stack(distances)
        return {"fid_class_mean": values.mean(), "fid_class_worst": values.max()}

    def _check_memory(self, parts: dict[str, Tensor], d: int) -> None:
        names = [f"{side}_{k}" for side in ("real", "fake") for k in range(self.num_classes)]
        few = max(d, ROWS)
        coming = [name for name, part in parts.items() if self._waiting(name) + len(part) > few]
        moments = {*coming, *(name for name in names if getattr(self, name).numel() > 1)}
        gib = len(moments) * (d + 1) ** 2 * 8 / 2**30
        if gib > self.max_memory:
            raise ValueError(
                f"ClassConditionalFID would hold {gib:.2f} GiB, moments of {len(moments)} of 2 x {self.num_classes} "
                f"classes at d={d} features, and max_memory={self.max_memory} GiB: give a larger one, an extractor "
                f"of fewer features, or no more than {few} samples of each class."
            )
