from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.metrics import BirthdayTest


def rows(n: int, seed: int, d: int = 3) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def drawn(points: Tensor, n: int, seed: int) -> Tensor:
    return points[torch.randint(len(points), (n,), generator=torch.Generator().manual_seed(seed))]


def both(real: Tensor, fake: Tensor, quantile: float = 0.1) -> dict[str, float]:
    metric = BirthdayTest(quantile)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


def test_support_of_a_uniform_distribution_on_points() -> None:
    # K points: n (n - 1) / (2 K) pairs in expectation, with a variance that is about the same
    points, n = 100 + rows(400, 0), 800
    pairs = n * (n - 1) / 2
    for kinds in (400, 40):
        values = both(drawn(points, 2000, 1), drawn(points[:kinds], n, 2))
        error = 4 * (kinds / pairs) ** 0.5
        assert values["birthday_support"] == pytest.approx(kinds, rel=error)
        assert values["birthday_pairs"] == pytest.approx(400 / kinds, rel=error + 4 * (400 / 2e6) ** 0.5)


def test_pairs_are_those_of_all_distances() -> None:
    real, fake = rows(150, 0), 0.5 * rows(120, 1)
    apart = torch.cdist(real.double(), real.double()).fill_diagonal_(torch.inf)
    limit = apart.amin(1).sort().values[14]  # the tenth part of 150
    expected, collisions = (int((torch.pdist(x.double()) <= limit + 1e-9).sum()) for x in (real, fake))
    values = both(real, fake)
    assert values["birthday_support"] == pytest.approx(120 * 119 / 2 / collisions)
    assert values["birthday_pairs"] == pytest.approx(collisions / (120 * 119) * 150 * 149 / expected)


@pytest.mark.parametrize("n", [300, 600])  # of generated samples: values do not depend on it
def test_samples_of_the_reals_distribution_collide_as_often(n: int) -> None:
    values = [both(rows(600, 2 * seed), rows(n, 2 * seed + 1))["birthday_pairs"] for seed in range(40)]
    assert np.mean(values) == pytest.approx(1, abs=3.5 * np.std(values) / 40**0.5)
    assert np.std(values) < 0.6


def test_fewer_kinds_of_samples_collide_more_often() -> None:
    # a generator of 50 samples, each with a little noise, against reals of a continuous distribution
    real, kinds = rows(2000, 0), rows(50, 1)
    values = both(real, drawn(kinds, 1000, 2) + 1e-3 * rows(1000, 3))
    assert values["birthday_support"] == pytest.approx(50, rel=0.06)
    assert values["birthday_pairs"] > 100


def test_without_collisions_the_support_is_at_least_the_number_of_pairs() -> None:
    spread = 100 * torch.arange(30.0)[:, None].expand(30, 3)
    assert both(rows(500, 0), spread) == {"birthday_support": 30 * 29 / 2, "birthday_pairs": 0}


def test_one_point_is_a_support_of_one() -> None:
    assert both(rows(100, 0), rows(1, 1).repeat(80, 1))["birthday_support"] == 1


def test_bad_arguments_and_too_few_samples_are_named() -> None:
    with pytest.raises(ValueError, match=r"quantile=0\b"):
        BirthdayTest(0)
    metric = BirthdayTest()
    metric.update(rows(5, 0), real=True)
    metric.update(rows(1, 0), real=False)
    with pytest.raises(ValueError, match=r"1 generated sample\(s\).*real=False"):
        metric.compute()
