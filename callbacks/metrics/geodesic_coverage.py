"""Coverage of a known manifold, by distances along it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import CAPACITY, SampleMetric
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.valleys import upper_quantile

_BLOCK = 2**21  # geodesic distances taken at once, 16 MiB and a few times that in temporaries


class GeodesicCoverage(SampleMetric):
    """Share of the reals that have a generated sample near them along the manifold, and of samples that are on it.

    ``compute`` gives float64 scalars in [0, 1]:

    - ``geodesic_coverage``: the share of reals with a generated sample on the manifold within r_i, the geodesic
      distance from real i to its ``k``-th nearest other real. This is the coverage of Naeem et al. (2020, 2002.09797,
      eq. 6) with geodesics for straight lines: where two parts of the manifold are nearer in space than the reals'
      spacing, samples on one cover the other for the Euclidean one, and not for this. For as many samples of the data's
      own distribution as reals it is 1 - 2^-k on average, as there.
    - ``on_manifold``: the share of generated samples no farther from the manifold than all but ``alpha`` of the reals.

    Geodesics are those of a ``truth`` that is a manifold, between projections; samples off the manifold cover nothing.

    Args:
        k: neighbour of a real that its radius reaches to, at least 1.
        alpha: share of reals that count as off the manifold, in (0, 0.5).
        truth: what knows ``project`` and ``geodesic``, such as a ManifoldTruth; from ``setup`` if None.
        capacity: of rows that are kept of each side. Time grows with its square: 3 s for 10,000 on a hairpin.
        reset_real_features: whether ``reset`` forgets the reals too.
        kwargs: as of ``torchmetrics.Metric``.

    Raises:
        ValueError: k, alpha or the capacity out of range.
    """

    sees = ("samples", "index")
    higher_is_better = True

    def __init__(
        self,
        k: int = 5,
        alpha: float = 0.01,
        truth: Any = None,
        capacity: int = CAPACITY,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(reset_real_features, **kwargs)
        if k < 1:
            raise ValueError(f"k={k} must be at least 1.")
        if not 0 < alpha < 0.5:
            raise ValueError(f"alpha={alpha} must be in (0, 0.5).")
        self.k, self.alpha, self.truth = k, alpha, truth
        for side in ("real", "fake"):
            self.add_rows(side, capacity)

    def setup(self, known: Known) -> None:
        """Take the manifold.

        Raises:
            NotApplicable: the data are not known to lie on one.
        """
        super().setup(known)
        if self.truth is None:
            self.truth = known.truth
        if not all(hasattr(self.truth, name) for name in ("project", "geodesic")):
            raise NotApplicable("GeodesicCoverage needs data on a known manifold: a truth with project and geodesic")

    def update(self, samples: Tensor, real: bool, index: Tensor | None = None) -> None:
        """Keep samples (N, d) of data space, real or generated.

        Args:
            samples: any floating dtype.
            real: whether they are of reals.
            index: numbers (N,) of the rows in the whole sequence.

        Raises:
            ValueError: not 2-D, another d than before, or not finite.
        """
        self.keep("real" if real else "fake", self.checked(samples), index)

    def compute(self) -> dict[str, Tensor]:
        """The shares, by name.

        Raises:
            ValueError: no manifold, no generated samples, or no more than k reals.
        """
        if self.truth is None:
            raise ValueError("GeodesicCoverage knows no manifold: give a truth to the constructor, or call setup().")
        real, fake = self.kept("real").cpu().double(), self.kept("fake").cpu().double()
        self.require(False, len(fake), 1)
        self.require(True, len(real), self.k + 1)
        # projections onto the manifold; geodesics are between them
        (real, off), (fake, away) = ((foot, (x - foot).norm(dim=1)) for x, foot in self._projected(real, fake))
        on = away <= upper_quantile(off, self.alpha)
        radius = torch.cat([block.kthvalue(self.k + 1, 1).values for block in self._distances(real, real)])
        nearest = [block.amin(1) for block in self._distances(real, fake[on])] if on.any() else [radius + math.inf]
        return {
            "geodesic_coverage": (torch.cat(nearest) <= radius).double().mean(),
            "on_manifold": on.double().mean(),
        }

    def _projected(self, *sides: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return ((x, self.truth.project(x).double()) for x in sides)

    def _distances(self, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        """Geodesic distances of a block of rows of x to all of y, (n, M)."""
        for rows in torch.split(x, max(1, _BLOCK // len(y))):
            yield self.truth.geodesic(rows[:, None], y[None])
