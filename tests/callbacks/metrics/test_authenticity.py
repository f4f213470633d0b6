from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from callbacks.metrics import Authenticity


def rows(n: int, seed: int, d: int = 4) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def on_torus(n: int, seed: int, dimension: int) -> Tensor:
    """Uniform on a flat torus: no edges."""
    angle = 2 * math.pi * torch.rand(n, dimension, generator=torch.Generator().manual_seed(seed))
    return torch.cat([angle.sin(), angle.cos()], 1)


def both(training: Tensor, fake: Tensor, quantile: float = 0.05) -> dict[str, float]:
    metric = Authenticity(quantile)
    metric.update(training, real=True)
    metric.update(fake, real=False)
    return {name: float(value) for name, value in metric.compute().items()}


def test_agrees_with_scikit_learn_on_digits() -> None:
    pixels = torch.from_numpy(load_digits().data.astype(np.float32)) + 0.01 * rows(1797, 1, 64)  # no ties
    training, fake = pixels[:1200], torch.cat([pixels[1200:], pixels[:100] + rows(100, 0, 64)])
    model = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(training.double())
    apart = model.kneighbors()[0][:, 0]
    distance, nearest = (found[:, 0] for found in model.kneighbors(fake.double()))
    threshold = np.sort(apart)[math.ceil(0.05 * 1200) - 1]
    expected = {"authenticity": np.mean(distance > apart[nearest]), "copies": np.mean(distance <= threshold)}
    assert both(training, fake) == pytest.approx(expected, abs=1e-12)


def test_new_samples_of_the_data_score_the_quantile() -> None:
    n, quantile, repeats = 300, 0.05, 60
    shares = [both(rows(n, 2 * seed), rows(500, 2 * seed + 1), quantile)["copies"] for seed in range(repeats)]
    deviation = quantile * (2 / (quantile * n) + 1 / (quantile * 500)) ** 0.5
    assert np.mean(shares) == pytest.approx(quantile + 1 / n, abs=3 * deviation / repeats**0.5)
    assert np.std(shares) == pytest.approx(deviation, rel=0.4)


@pytest.mark.parametrize(
    ("dimension", "share"), [(1, 1 / 3), (2, 1 - 6 * math.pi / (8 * math.pi + 27**0.5))]
)  # 1 - the probability that nearest neighbours of a Poisson process are mutual (Clark and Evans, 1955)
def test_authenticity_of_new_samples_has_a_closed_form(dimension: int, share: float) -> None:
    value = both(on_torus(3000, 0, dimension), on_torus(6000, 1, dimension))["authenticity"]
    assert value == pytest.approx(share, abs=0.03)


def test_copies_are_counted_and_not_authentic() -> None:
    training, fresh = rows(500, 0), rows(300, 3)
    assert both(training, training[:300]) == {"authenticity": 0, "copies": 1}
    assert both(training, training[:300] + 1e-4) == {"authenticity": 0, "copies": 1}
    alone = both(training, fresh)
    half = both(training, torch.cat([training[:300], fresh]))
    assert half == pytest.approx({"authenticity": alone["authenticity"] / 2, "copies": (1 + alone["copies"]) / 2})


def test_samples_off_the_data_are_authentic() -> None:
    assert both(rows(100, 0), 10 + rows(50, 1)) == {"authenticity": 1, "copies": 0}


def test_training_samples_may_repeat_each_other() -> None:
    points = rows(90, 0)
    training = torch.cat([points, points[:10]])  # 20 of 100 are at distance 0 of another
    assert both(training, training, 0.1) == {"authenticity": 0, "copies": 1}
    # the threshold is 0: near copies do not count, and next to a repeated sample nothing is a copy but exact ones
    assert both(training, points[:10] + 1e-4, 0.1) == {"authenticity": 1, "copies": 0}
    assert both(training, points[10:] + 1e-4, 0.1) == {"authenticity": 0, "copies": 0}
    assert both(training, points[10:] + 1e-4, 0.3)["copies"] == 1


def test_copies_are_seen_of_training_samples_that_are_kept() -> None:
    metric = Authenticity(capacity=200, samples=50)
    metric.update(rows(800, 0), real=True)
    metric.update(rows(800, 0), real=False)
    assert len(metric.kept("real")) == 200
    assert len(metric.kept("fake")) == 50
    assert metric.compute()["copies"] == 1  # the same numbers are kept of both sides
    metric.update(rows(800, 0), real=False, index=torch.arange(10_000, 10_800))
    assert 0.05 < metric.compute()["copies"] < 0.95


def test_bad_arguments_and_too_few_samples_are_named() -> None:
    with pytest.raises(ValueError, match=r"quantile=1\.0"):
        Authenticity(1.0)
    metric = Authenticity()
    metric.update(rows(99, 0), real=True)
    with pytest.raises(ValueError, match=r"99 real sample\(s\), and quantile=0\.01 needs at least 100: call update"):
        metric.compute()
    metric.update(rows(1, 1), real=True)
    with pytest.raises(ValueError, match=r"0 generated sample\(s\)"):
        metric.compute()
    with pytest.raises(ValueError, match="d=3 columns"):
        metric.update(rows(2, 0, 3), real=False)
