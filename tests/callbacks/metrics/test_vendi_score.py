from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from metric_recipes import normal
from torch import Tensor

from callbacks.metrics import VendiScore
from datamodules.truth import GaussianMixture


def score(features: Tensor, real: Tensor | None = None, **kwargs: Any) -> float:
    metric = VendiScore(**kwargs)
    if real is not None:
        metric.update(real, real=True)
    metric.update(features)
    return metric.compute().item()


@pytest.mark.parametrize("kernel", [{"kernel": "cosine"}, {"bandwidth": 0.1}], ids=["cosine", "rbf"])
@pytest.mark.parametrize("d", [6, 100])
def test_m_orthogonal_points_equally_often_score_m(kernel: dict[str, Any], d: int) -> None:
    points = torch.eye(d)[:6]
    assert score(points.repeat(7, 1), **kernel) == pytest.approx(6)
    assert score(points[:1].repeat(42, 1), **kernel) == pytest.approx(1)
    uneven = torch.cat([points[:1].repeat(9, 1), points[1:2].repeat(3, 1)])  # exp H(3/4, 1/4)
    assert score(uneven, **kernel) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_two_points_have_the_closed_form() -> None:
    similarity = math.exp(-0.5 * (3 / 2) ** 2)  # eigenvalues of K / 2 are (1 +- k) / 2
    p, q = (1 + similarity) / 2, (1 - similarity) / 2
    expected = math.exp(-p * math.log(p) - q * math.log(q))
    assert score(torch.tensor([[1e3, 0.0], [1e3, 3.0]]), bandwidth=2.0) == pytest.approx(expected)
    assert score(torch.ones(1, 4), bandwidth=2.0) == pytest.approx(1)


def test_the_bandwidth_is_the_tenth_percentile_of_the_reals_distances() -> None:
    real, fake = normal(0, 80, 3), normal(1, 50, 3)
    bandwidth = torch.pdist(real.double()).quantile(0.1).item()
    assert score(fake, real) == pytest.approx(score(fake, bandwidth=bandwidth), rel=1e-3)


def test_scale_and_position_do_not_matter_where_reals_decide() -> None:
    real, fake = normal(0, 100), 2 * normal(1, 100)
    assert score(8 * fake + 1e3, 8 * real + 1e3) == pytest.approx(score(fake, real), rel=1e-4)


def test_it_falls_in_proportion_as_modes_of_a_ring_are_dropped() -> None:
    angles = 2 * math.pi * torch.arange(8, dtype=torch.float64) / 8
    ring = GaussianMixture(torch.stack([angles.cos(), angles.sin()], 1), 0.02)
    samples, modes = ring.sample(4000, torch.Generator().manual_seed(0))
    real = ring.sample(1000, torch.Generator().manual_seed(1))[0]
    scores = {kept: score(samples[modes < kept][:500], real) for kept in (8, 7, 4, 2, 1)}
    for kept in (7, 4, 2, 1):
        assert scores[kept] / scores[8] == pytest.approx(kept / 8, rel=0.06)


def test_reals_leave_a_given_kernel_alone() -> None:
    fake = normal(1, 60)
    for kernel in ({"kernel": "cosine"}, {"bandwidth": 1.5}):
        assert score(fake, normal(0, 90), **kernel) == score(fake, **kernel)


def test_more_samples_than_the_capacity_are_a_random_subset() -> None:
    metric = VendiScore(bandwidth=1e-3, capacity=40)  # each sample is unlike all others
    metric.update(normal(0, 300))
    assert metric.compute().item() == pytest.approx(40)


def test_what_cannot_be_computed_is_said() -> None:
    with pytest.raises(ValueError, match="kernel='linear'"):
        VendiScore(kernel="linear")  # type: ignore[arg-type]
    for arguments in ({"bandwidth": 0.0}, {"bandwidth": 1.0, "kernel": "cosine"}, {"bandwidth": math.nan}):
        with pytest.raises(ValueError, match="bandwidth="):
            VendiScore(**arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"1 real sample\(s\).*needs at least 2"):
        score(normal(0, 5), normal(1, 1))
    with pytest.raises(ValueError, match="a tenth of all pairs of reals the same"):
        score(normal(0, 5), torch.ones(5, 5))
    metric = VendiScore()
    metric.update(normal(0, 5), real=True)
    with pytest.raises(ValueError, match=r"0 generated sample\(s\)"):
        metric.compute()


def test_reals_that_repeat_have_no_bandwidth_though_they_are_far_from_each_other_and_from_zero() -> None:
    kinds = 5 + 3 * torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="a tenth of all pairs of reals the same: give a bandwidth"):
        score(torch.randn(50, 64, generator=torch.Generator().manual_seed(1)), kinds.repeat(25, 1))
