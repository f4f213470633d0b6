"""One case for every metric that the package exports: how it is made, and what it is shown of reals and samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

import callbacks.metrics
from callbacks.metrics import (
    Authenticity,
    BirthdayTest,
    ClassConditionalFID,
    FrechetDistance,
    FrechetInfinity,
    GeodesicCoverage,
    InceptionScore,
    KernelDistance,
    ManifoldCollapse,
    ModeCoverage,
    MSSSIMDiversity,
    NumberOfDifferentBins,
    PowerSpectrum,
    PrecisionRecallDensityCoverage,
    VendiScore,
)
from datamodules.truth import Hairpin

Views = tuple[Tensor, ...]


def normal(seed: int, n: int, d: int = 5) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def integers(seed: int, n: int, low: int, high: int) -> Tensor:
    return torch.randint(low, high, (n,), generator=torch.Generator().manual_seed(seed))


def hairpin() -> Hairpin:
    return Hairpin(modes=3, length=3.0, gap=0.5, tangential_std=0.1, normal_std=0.05)


def with_moments(mean: Tensor, covariance: Tensor, n: int, seed: int) -> Tensor:
    """Rows whose mean and unbiased covariance are exactly these."""
    white = normal(seed, n, len(mean)).double()
    white = white - white.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(white.T)), white.T, upper=False).T
    return mean + white @ torch.linalg.cholesky(covariance).T


@dataclass(frozen=True)
class Case:
    """A metric's constructor, and views of 200 generated and of 200 real samples, in the order of ``sees``.

    Attributes:
        make: of keyword arguments of every SampleMetric.
        generated: the views of generated samples, but for "index".
        real: those of reals; None where the metric takes none.
    """

    make: Callable[..., Any]
    generated: Views
    real: Views | None = None

    def show(self, metric: Any, real: bool, index: Tensor | None = None) -> None:
        """Update the metric with the rows of these numbers, all by default."""
        views = self.real if real else self.generated
        assert views is not None
        index = torch.arange(len(views[0])) if index is None else index
        first, *others = (view[index] for view in views)
        if "index" in getattr(metric, "sees", ()):
            others.append(index)
        metric.update(first, real, *others)

    def filled(self, **kwargs: Any) -> Any:
        """A metric that has seen the reals."""
        metric = self.make(**kwargs)
        if self.real is not None:
            self.show(metric, True)
        return metric

    def value(self, metric: Any, *batches: Tensor) -> Any:
        """What the metric computes after generated rows of these numbers, all by default."""
        for index in batches or (None,):
            self.show(metric, False, index)
        return metric.compute()


CASES = {
    "MSSSIMDiversity": Case(MSSSIMDiversity, (normal(0, 200, 192).sigmoid().reshape(200, 3, 8, 8),)),
    "InceptionScore": Case(InceptionScore, ((2 * normal(0, 200)).softmax(1),)),
    "VendiScore": Case(VendiScore, (2 * normal(1, 200) + 1,), (normal(0, 200),)),
    "ClassConditionalFID": Case(
        lambda **kwargs: ClassConditionalFID(3, **kwargs),
        (2 * normal(1, 200), integers(1, 200, 0, 3)),
        (normal(0, 200), integers(0, 200, 0, 3)),
    ),
    "FrechetDistance": Case(FrechetDistance, (2 * normal(1, 200) + 1,), (normal(0, 200),)),
    "FrechetInfinity": Case(FrechetInfinity, (2 * normal(1, 200) + 1,), (normal(0, 200),)),
    "KernelDistance": Case(lambda **kwargs: KernelDistance(30, **kwargs), (2 * normal(1, 200),), (normal(0, 200),)),
    "GeodesicCoverage": Case(
        lambda **kwargs: GeodesicCoverage(truth=hairpin(), **kwargs),
        (hairpin().sample(200, torch.Generator().manual_seed(1))[0].float(),),
        (hairpin().sample(200, torch.Generator().manual_seed(0))[0].float(),),
    ),
    "ManifoldCollapse": Case(
        ManifoldCollapse,
        (normal(1, 200), (3 * normal(1, 200)).softmax(1)),
        (2 * normal(0, 200), (6 * normal(0, 200)).softmax(1)),
    ),
    "ModeCoverage": Case(
        lambda **kwargs: ModeCoverage(4, **kwargs), (integers(1, 200, -1, 4),), (integers(0, 200, -1, 4),)
    ),
    "PowerSpectrum": Case(
        PowerSpectrum, (normal(1, 200, 192).reshape(200, 3, 8, 8),), (2 * normal(0, 200, 192).reshape(200, 3, 8, 8),)
    ),
    "PrecisionRecallDensityCoverage": Case(
        PrecisionRecallDensityCoverage, (1.5 * normal(1, 200) + 0.5,), (normal(0, 200),)
    ),
    "Authenticity": Case(
        lambda **kwargs: Authenticity(0.2, **kwargs), (1.2 * normal(1, 200, 2),), (normal(0, 200, 2),)
    ),
    "BirthdayTest": Case(BirthdayTest, (0.5 * normal(1, 200, 2),), (normal(0, 200, 2),)),
    "NumberOfDifferentBins": Case(NumberOfDifferentBins, (1.5 * normal(1, 200) + 0.5,), (normal(0, 200),)),
}
EXPORTED = sorted(
    name
    for name in callbacks.metrics.__all__
    if isinstance(made := getattr(callbacks.metrics, name), type) and issubclass(made, Metric)
)


def split_over(rank: int, world: int, name: str, shares: str) -> tuple[Any, Any]:
    """For a process of a group: the case's value over all processes, evaluated twice, and that of one process.

    ``shares`` names how rows are spread: "turns" (row i on process i mod world), "uneven" (most rows on the first), or
    "empty" (all rows on the first).
    """
    case = CASES[name]
    metric = case.make()
    for _ in range(2):  # a training run evaluates again and again: what was synchronised must come apart again
        metric.reset()
        for views, real in ((case.real, True), (case.generated, False)):
            if views is None:
                continue
            n = len(views[0])
            mine = {
                "turns": torch.arange(rank, n, world),
                "uneven": torch.arange(n)[: n - 7] if rank == 0 else torch.arange(n)[n - 8 + rank :: world - 1],
                "empty": torch.arange(n if rank == 0 else 0),
            }[shares]
            for index in mine.split(37):
                case.show(metric, real, index)
        together = metric.compute()
    return together, case.value(case.filled(sync_on_compute=False))
