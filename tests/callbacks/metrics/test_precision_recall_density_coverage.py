from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from callbacks.metrics import PrecisionRecallDensityCoverage, precision_recall_density_coverage
from callbacks.metrics.nearest import neighbours

prdc = pytest.importorskip("prdc")
NAMES = ["precision", "recall", "density", "coverage"]


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def four(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    metric = PrecisionRecallDensityCoverage(neighbours)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


def reference(real: Tensor, fake: Tensor, neighbours: int = 5) -> dict[str, float]:
    values = prdc.compute_prdc(real.double().numpy(), fake.double().numpy(), neighbours)
    return {name: float(values[name]) for name in NAMES}


def test_agrees_with_prdc_on_digits() -> None:
    pixels = torch.from_numpy(load_digits().data.astype(np.float32))
    real, fake = pixels[:900] + 0.01 * rows(900, 64, 0), pixels[900:] + 1.5 * rows(897, 64, 1)
    values = four(real, fake)
    assert values == pytest.approx(reference(real, fake), abs=1e-12)
    assert all(0.1 < value < 0.95 for value in values.values())


@pytest.mark.parametrize(("d", "scale", "neighbours"), [(1, 0.5, 1), (2, 1.5, 3), (64, 1.0, 5), (700, 0.98, 7)])
def test_agrees_with_prdc_on_normal_rows(d: int, scale: float, neighbours: int) -> None:
    real, fake = 3 + rows(500, d, 0).double(), 3 + scale * rows(350, d, 1).double()  # float32 would have ties for d = 1
    assert four(real, fake, neighbours) == pytest.approx(reference(real, fake, neighbours), abs=1e-12)


def test_balls_on_a_line_are_counted_by_hand() -> None:
    # k = 1: balls [0, 2], [0, 2], [1, 9] around 0 + 1, 1, 5 (radii 1, 1, 4) and [5, 11], [5, 11] around 8, 8 + 3
    real, fake = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[8.0], [11.0]])
    # 8 is in the last real ball alone, 11 in none; 5 is in the ball of 8, [5, 11], by its edge
    assert four(real, fake, 1) == {"precision": 1 / 2, "recall": 1 / 3, "density": 1 / 2, "coverage": 1 / 3}


def test_a_generator_of_the_data_has_the_expected_values() -> None:
    # density is 1, for each of n balls has mass k / n; coverage is 1 - 1 / 2^k for many samples (Naeem et al., 2020)
    values = [four(rows(400, 3, 2 * seed), rows(400, 3, 2 * seed + 1), 3) for seed in range(12)]
    mean = {name: np.mean([value[name] for value in values]) for name in NAMES}
    assert mean["density"] == pytest.approx(1, abs=0.05)
    assert mean["coverage"] == pytest.approx(1 - 1 / 8, abs=0.015)
    assert mean["precision"] == pytest.approx(mean["recall"], abs=0.02)


def test_a_collapsed_generator_has_fidelity_and_covers_nothing() -> None:
    real = rows(300, 3, 0)
    radii = torch.cdist(real, real).kthvalue(6, dim=1).values
    balls = int((torch.cdist(real[:1], real) <= radii).sum())
    values = four(real, real[:1].repeat(200, 1))
    assert values == pytest.approx({"precision": 1, "recall": 1 / 300, "density": balls / 5, "coverage": balls / 300})


def test_copies_are_in_balls_of_radius_zero() -> None:
    # each of 50 places has 8 reals and 6 generated ones, so every radius with k = 5 is 0; open balls hold nothing
    places = 1e3 + rows(50, 4, 0)
    real, fake = places.repeat(8, 1), places.repeat(6, 1)
    assert four(real, fake) == {"precision": 1, "recall": 1, "density": 8 / 5, "coverage": 1}
    assert reference(real, fake)["coverage"] == 0
    assert four(real, fake[:300:50].repeat(2, 1))["coverage"] == 1 / 50


def test_samples_off_the_data_are_in_no_ball() -> None:
    assert four(rows(50, 3, 0), 100 + rows(60, 3, 1)) == dict.fromkeys(NAMES, 0)


def test_radii_of_cached_reals_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        asked.append(len(x))
        return neighbours(x, k)

    monkeypatch.setattr(precision_recall_density_coverage, "nearest", counted)
    metric = PrecisionRecallDensityCoverage(reset_real_features=False)
    metric.update(rows(70, 3, 0), real=True)
    for seed in (1, 2):
        metric.reset()
        metric.update(rows(50, 3, seed), real=False)
        value = {name: float(number) for name, number in metric.compute().items()}
    assert asked == [70, 50, 50]
    assert value == four(rows(70, 3, 0), rows(50, 3, 2))
    metric.update(rows(10, 3, 3), real=True)
    value = {name: float(number) for name, number in metric.compute().items()}
    assert value == four(torch.cat([rows(70, 3, 0), rows(10, 3, 3)]), rows(50, 3, 2))


def test_no_more_than_the_capacity_is_compared() -> None:
    metric = PrecisionRecallDensityCoverage(2, capacity=30)
    for seed in range(4):
        metric.update(rows(50, 2, seed), real=True)
        metric.update(rows(50, 2, 9 + seed), real=False)
    value = {name: float(number) for name, number in metric.compute().items()}
    assert value == four(metric.kept("real"), metric.kept("fake"), 2)
    assert len(metric.kept("real")) == 30


def test_bad_arguments_and_too_few_samples_are_named() -> None:
    with pytest.raises(ValueError, match="neighbours=0"):
        PrecisionRecallDensityCoverage(0)
    with pytest.raises(ValueError, match="capacity=5 must be above neighbours=5"):
        PrecisionRecallDensityCoverage(capacity=5)
    metric = PrecisionRecallDensityCoverage()
    metric.update(rows(6, 2, 0), real=True)
    metric.update(rows(5, 2, 0), real=False)
    with pytest.raises(ValueError, match=r"5 generated sample\(s\).*needs at least 6: call update\(.*real=False"):
        metric.compute()
