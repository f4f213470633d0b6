from __future__ import annotations

import pytest
import torch
from metric_recipes import with_moments
from torch import Tensor

from callbacks.metrics import DigitsClassifier, FrechetDistance, FrechetInfinity
from callbacks.metrics.extractors import train_classifier


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances(real: Tensor, fake: Tensor, **kwargs: int) -> dict[str, float]:
    metrics = FrechetInfinity(**kwargs), FrechetDistance()
    for metric in metrics:
        metric.update(real, real=True)
        metric.update(fake, real=False)
    return {name: value.item() for name, value in metrics[0].compute().items()} | {"fid": metrics[1].compute().item()}


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.1, 1.3)])
def test_nearer_to_the_distance_of_the_distributions_than_fid_is(shift: float, scale: float) -> None:
    d = 20
    real = with_moments(torch.zeros(d).double(), torch.eye(d).double(), 1000, 99)  # whose moments are exact
    exact = d * (shift**2 + (scale - 1) ** 2)
    runs = [distances(real, shift + scale * rows(1000, d, seed)) for seed in range(10)]
    fid, infinite, r2 = (
        torch.tensor([run[name] for run in runs]) for name in ("fid", "fid_infinity", "fid_infinity_r2")
    )
    # the mean and the covariance of n samples cost scale^2 d / n and, of equal covariances, d (d + 1) / 4 n
    bias = (fid.mean() - exact).item()
    assert bias > 0.8 * scale**2 * d / 1000
    assert abs(infinite.mean().item() - exact) < 0.15 * bias + 3 * infinite.std().item() / 10**0.5
    assert (infinite - exact).abs().mean() < 0.8 * (fid - exact).abs().mean()
    assert r2.median() > 0.98
    assert r2.max() <= 1


def test_the_value_of_digits_is_that_of_more_digits() -> None:
    extractor = DigitsClassifier()
    features = torch.cat([extractor(train_classifier.digits(split)[0]) for split in ("train", "val", "test")])
    features = features[:, :24]
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
    real, fake = features[order[:900]], features[order[900:]]
    few, all_of_them = distances(real, fake[:200]), distances(real, fake)
    assert few["fid"] > all_of_them["fid"]
    assert abs(few["fid_infinity"] - all_of_them["fid_infinity"]) < 0.5 * (few["fid"] - all_of_them["fid"])


def test_a_collapse_on_one_point_has_no_slope() -> None:
    real = rows(200, 4, 0)
    result = distances(real, real[:1].expand(100, -1))
    assert result["fid_infinity"] == pytest.approx(result["fid"], rel=1e-9)
    assert result["fid_infinity_r2"] <= 1


def test_what_it_needs_is_said_in_numbers() -> None:
    with pytest.raises(ValueError, match="points=2 must be at least 3"):
        FrechetInfinity(points=2)
    message = r"19 generated sample\(s\), and points=4 at d=4 features .* needs at least 20: call update"
    with pytest.raises(ValueError, match=message):
        distances(rows(50, 4, 0), rows(19, 4, 1))
    with pytest.raises(ValueError, match=r"capacity=15 .* points=4 at d=4 features need 20.*capacity=20"):
        distances(rows(50, 4, 0), rows(30, 4, 1), capacity=15)
    with pytest.raises(ValueError, match=r"1 real sample\(s\)"):
        distances(rows(1, 4, 0), rows(30, 4, 1))
