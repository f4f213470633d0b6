from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency
from torch import Tensor

from callbacks.metrics import NumberOfDifferentBins


def rows(n: int, seed: int, d: int = 4) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def clusters(counts: list[int], seed: int) -> Tensor:
    """So many samples at each of some far corners, in a random order."""
    labels = torch.repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    return 100 * torch.eye(len(counts))[labels] + rows(len(labels), seed, len(counts))


def both(real: Tensor, fake: Tensor, **kwargs: float) -> dict[str, float]:
    metric = NumberOfDifferentBins(**kwargs)  # type: ignore[arg-type]
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


def in_clusters(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The counts that the metric compares, where bins are clusters."""
    metric = NumberOfDifferentBins()
    metric.update(real, real=True)
    kept = metric.kept("real")
    counted = kept[len(kept) // 2 :].argmax(1).bincount(minlength=real.shape[1])
    return counted, fake.argmax(1).bincount(minlength=real.shape[1])


@pytest.mark.parametrize("level", [0.05, 0.3])
def test_clusters_are_compared_as_scipy_compares_them(level: float) -> None:
    real, fake = clusters([400, 300, 200, 100], 0), clusters([220, 150, 90, 40], 1)
    values = both(real, fake, bins=4, level=level)
    one, other = (counts.double().numpy() for counts in in_clusters(real, fake))
    # the square of z is the statistic of the 2 x 2 table
    tables = [[[a, one.sum() - a], [b, other.sum() - b]] for a, b in zip(one, other, strict=True)]
    different = [chi2_contingency(table, correction=False).pvalue < level for table in tables]
    assert values["ndb"] == pytest.approx(np.mean(different))
    assert values["ndb_js"] == pytest.approx(jensenshannon(one, other) ** 2, rel=1e-9)


def test_dropped_clusters_are_different_bins() -> None:
    real = clusters([250] * 8, 0)
    assert both(real, clusters([125] * 8, 1), bins=8)["ndb"] <= 1 / 8
    values = both(real, clusters([250] * 4 + [0] * 4, 1), bins=8)
    # p = 1/8 against 1/4 or 0: JS = log 2 - (p + q) H(p / (p + q)) summed over bins, up to the noise of p
    ratio = 1 / 3 * math.log(3) + 2 / 3 * math.log(3 / 2)
    assert values["ndb"] == 1
    assert values["ndb_js"] == pytest.approx(math.log(2) - 4 * (3 / 8) / 2 * ratio, abs=0.03)


def test_clusters_apart_are_as_different_as_can_be() -> None:
    values = both(clusters([300, 300, 0, 0], 0), 1000 + clusters([300, 0, 0, 0], 1), bins=2)
    assert values["ndb"] == 1
    assert values["ndb_js"] < math.log(2)


@pytest.mark.parametrize("d", [2, 256])  # in many dimensions reals that are clustered and counted differ from new ones
def test_samples_of_the_data_differ_at_the_level(d: int) -> None:
    values = [both(rows(1200, 2 * seed, d), rows(800, 2 * seed + 1, d)) for seed in range(8)]
    ndb = [value["ndb"] for value in values]  # of 30 bins
    assert np.mean(ndb) == pytest.approx(0.05, abs=0.045)
    expected = 29 * (1 / 600 + 1 / 800) / 8
    assert np.mean([value["ndb_js"] for value in values]) == pytest.approx(expected, rel=0.35)


def test_a_bin_holds_twenty_samples_of_each_side() -> None:
    metric = NumberOfDifferentBins()
    metric.update(rows(1000, 0), real=True)
    metric.update(rows(130, 1), real=False)
    assert float(metric.compute()["ndb"]) * 6 == pytest.approx(round(float(metric.compute()["ndb"]) * 6))
    metric.update(rows(300, 2), real=False)
    assert float(metric.compute()["ndb"]) * 21 == pytest.approx(round(float(metric.compute()["ndb"]) * 21))


def test_bad_arguments_and_too_few_samples_are_named() -> None:
    with pytest.raises(ValueError, match="bins=1 must be at least 2"):
        NumberOfDifferentBins(1)
    with pytest.raises(ValueError, match="level=0"):
        NumberOfDifferentBins(level=0)
    metric = NumberOfDifferentBins()
    metric.update(rows(79, 0), real=True)
    with pytest.raises(ValueError, match=r"79 real sample\(s\), and two bins need at least 80: call update"):
        metric.compute()
    metric.update(rows(1, 0), real=True)
    metric.update(rows(39, 0), real=False)
    with pytest.raises(ValueError, match=r"39 generated sample\(s\), and two bins need at least 40"):
        metric.compute()
