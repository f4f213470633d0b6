"""Whether a generator makes samples of its own, or repeats those that it was trained on."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from torch import Tensor

from callbacks.metrics.base import CAPACITY, RowMetric
from callbacks.metrics.memo import Memo
from callbacks.metrics.nearest import neighbours

_TRAINING = 60_000  # the training sets of MNIST and CIFAR-10 as a whole


class Authenticity(RowMetric):
    """How near generated samples come to training samples, against how near these come to each other.

    ``compute`` gives float64 scalars in [0, 1]:

    - ``authenticity``: share of generated samples whose distance to the nearest training sample t is larger than the
      distance of t to the nearest other one: 1 less the copies of Alaa et al. (2022, 2102.08921, section 4). New
      samples of the data's distribution do not score 1: they count where they are not the nearest neighbour of their
      nearest neighbour. That is so for 1/3 of points on a line, .38 in the plane and 1/2 in high dimension where the
      density is uniform, and more where it varies: compare with held-out samples.
    - ``copies``: share of generated samples as near to a training sample as only the ``quantile`` of training samples
      are to each other. For n training samples, new samples of their distribution score ``quantile`` in expectation,
      up to a factor n / (n - 1) and at most 2 / n more, with a relative standard deviation of sqrt(2 / (quantile n))
      by the choice of the training samples alone, since nearest neighbours are so in pairs. A higher value says that
      the generator memorises, one near zero that it stays away from the data. After the data-copying test of Meehan et
      al. (2020, 2004.05675), with the training samples themselves as the yardstick, so that nothing is held out.

    Training samples that repeat each other are at distance 0, so generated ones nearest to them count as copies where
    they are exact copies, and else as authentic. Where more than ``quantile`` of the training samples repeat each
    other, ``copies`` is the share of exact copies, and new samples of the data score the share of repeated ones.

    Distances are in the features that ``update`` is given. Copies are seen of training samples that are kept, and so
    ``capacity`` should be all of them: where only a share is kept, so is of the copies. Distances among n training
    samples take n^2 d / 2 products (seconds for 10,000 x 2,048, a minute or more for 60,000), once while these stay the
    same; those of m generated samples n m d.

    Args:
        quantile: of the training samples' distances, in (0, 1).
        capacity: training samples that are kept.
        samples: generated samples that are kept.
        reset_real_features: whether ``reset`` forgets the training samples too.
        kwargs: as of ``torchmetrics.Metric``.
    """

    reals: ClassVar[Literal["held_out", "training"] | None] = "training"
    plot_upper_bound = 1.0

    def __init__(
        self,
        quantile: float = 0.01,
        capacity: int = _TRAINING,
        samples: int = CAPACITY,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if not 0 < quantile < 1:
            raise ValueError(f"quantile={quantile} must be in (0, 1).")
        self.quantile = quantile
        self._apart = Memo(neighbours)
        self.add_rows("real", capacity)
        self.add_rows("fake", samples)

    def compute(self) -> dict[str, Tensor]:
        """Both shares, by name.

        Raises:
            ValueError: no generated samples, or fewer training samples than have such a quantile.
        """
        training, fake = self.kept("real"), self.kept("fake")
        self.require(True, len(training), max(2, math.ceil(1 / self.quantile)), f"quantile={self.quantile}")
        self.require(False, len(fake), 1)
        apart, _ = self._apart(training)
        distance, nearest = neighbours(fake, among=training)
        threshold = apart.kthvalue(math.ceil(self.quantile * len(apart))).values
        return {
            "authenticity": (distance > apart[nearest]).double().mean(),
            "copies": (distance <= threshold).double().mean(),
        }
