from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from callbacks.metrics import DigitsClassifier, KernelDistance
from callbacks.metrics.extractors import train_classifier


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def values(real: Tensor, fake: Tensor, *args: Any, **kwargs: Any) -> dict[str, float]:
    metric = KernelDistance(*args, **kwargs)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: value.item() for name, value in metric.compute().items()}


def u_statistic(x: Tensor, y: Tensor) -> float:
    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.T / one.shape[1] + 1) ** 3

    m, n = len(x), len(y)
    xx, yy = kernel(x, x).fill_diagonal_(0), kernel(y, y).fill_diagonal_(0)
    return float(xx.sum() / (m * (m - 1)) + yy.sum() / (n * (n - 1)) - 2 * kernel(x, y).mean())


class Identity(nn.Module):
    num_features = 6

    def forward(self, features: Tensor) -> Tensor:
        return features


def test_blocks_are_disjoint_and_each_is_a_u_statistic() -> None:
    real, fake = rows(90, 6, 0), 0.3 + rows(60, 6, 1)
    metric = KernelDistance(20)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    x, y = metric.kept("real").tensor_split(3), metric.kept("fake").tensor_split(3)
    blocks = torch.tensor([u_statistic(*pair) for pair in zip(x, y, strict=True)])
    result = metric.compute()
    assert result["kid"].item() == pytest.approx(blocks.mean().item(), rel=1e-6)
    assert result["kid_error"].item() == pytest.approx(blocks.std().item() / 3**0.5, rel=1e-5)


def test_the_mean_is_unbiased_whatever_the_block_and_the_error_is_its_spread() -> None:
    # x ~ N(0, 1), y ~ N(1, 1), d = 1: E (x x' + 1)^3 = 1 + 3 (E x^2)^2 = 4 and so on by moments up to the third
    def kernel(one: list[float], other: list[float]) -> float:
        return 1 + 3 * one[0] * other[0] + 3 * one[1] * other[1] + one[2] * other[2]

    x, y = [0.0, 1.0, 0.0], [1.0, 2.0, 4.0]
    exact = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    for block in (10, 50):
        runs = [values(rows(200, 1, 2 * s), 1 + rows(200, 1, 2 * s + 1), block) for s in range(60)]
        kid = torch.tensor([run["kid"] for run in runs])
        error = torch.tensor([run["kid_error"] for run in runs])
        assert kid.mean().item() == pytest.approx(exact, abs=4 * kid.std().item() / 60**0.5)
        assert error.square().mean().sqrt().item() == pytest.approx(kid.std().item(), rel=0.4)


def test_few_samples_make_two_blocks() -> None:
    result = values(rows(7, 3, 0), rows(4, 3, 1))
    assert set(result) == {"kid", "kid_error"}
    assert all(torch.tensor(list(result.values())).isfinite())
    with pytest.raises(
        ValueError, match=r"3 generated sample\(s\), and an estimate in two blocks needs at least 4.*real=False"
    ):
        values(rows(7, 3, 0), rows(3, 3, 1))


def test_subsets_are_those_of_torch_fidelity() -> None:
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    real, fake = rows(80, 6, 0), 0.3 + rows(70, 6, 1)
    reference = kid.kid_features_to_metric(fake, real, kid_subsets=7, kid_subset_size=30, rng_seed=2020, verbose=False)
    result = values(real, fake, subsets=7, subset_size=30)
    assert result["kid"] == pytest.approx(reference["kernel_inception_distance_mean"], rel=1e-9)
    assert result["kid_std"] == pytest.approx(reference["kernel_inception_distance_std"], rel=1e-9)


@pytest.mark.parametrize("kind", ["random", "digits"])
def test_a_subset_of_all_is_the_value_of_torchmetrics(kind: str) -> None:
    image = pytest.importorskip("torchmetrics.image.kid")
    if kind == "digits":
        features = DigitsClassifier()(train_classifier.digits("val")[0]).double()
        real, fake = features[:150], features[150:]
    else:
        real, fake = 2 + rows(150, 6, 0), 2 + 1.2 * rows(150, 6, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = image.KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=150)
    reference.update(real, real=True)
    reference.update(fake, real=False)
    result = values(real, fake, subsets=1, subset_size=150)
    assert result["kid"] == pytest.approx(float(reference.compute()[0]), rel=1e-9)


def test_a_large_mean_costs_no_digits() -> None:
    real, fake = (100 + rows(400, 8, 0)).float(), (100.2 + rows(400, 8, 1)).float()
    exact = values(real.double(), fake.double(), subsets=1, subset_size=400)["kid"]
    assert values(real, fake, subsets=1, subset_size=400)["kid"] == pytest.approx(exact, rel=1e-6)
    x, y = real.double(), fake.double()
    assert exact == pytest.approx(u_statistic(x, y), rel=1e-6)


@pytest.mark.parametrize("n", [300, 700])  # one panel of the kernel matrix and more
def test_identical_sets_differ_from_zero_by_the_diagonal_alone(n: int) -> None:
    x = rows(n, 5, 0)
    kernel = (x @ x.T / 5 + 1) ** 3
    # 2 sum_{i != j} k / n (n - 1) - 2 sum k / n^2
    off = kernel.sum() - kernel.trace()
    expected = 2 * off / (n * (n - 1)) - 2 * kernel.mean()
    assert expected < 0
    assert values(x, x, subsets=1, subset_size=n)["kid"] == pytest.approx(expected.item(), rel=1e-9)


def test_a_collapse_on_one_point_is_finite_and_large() -> None:
    real = rows(200, 4, 0)
    collapsed = values(real, real[:1].expand(200, -1), 50)
    assert collapsed["kid"] > 20 * collapsed["kid_error"] > 0


def test_low_precision_features_are_summed_in_float64() -> None:
    real, fake = rows(120, 6, 0).bfloat16(), (0.5 + rows(120, 6, 1)).bfloat16()
    result = values(real, fake, 40)
    assert result["kid"] == pytest.approx(values(real.double(), fake.double(), 40)["kid"], rel=1e-6)


def test_bad_arguments_are_refused() -> None:
    for arguments, message in (({"block": 1}, "block=1"), ({"subsets": 0}, "subsets=0")):
        with pytest.raises(ValueError, match=message):
            KernelDistance(**arguments)
    with pytest.raises(ValueError, match="subset_size=1 must"):
        KernelDistance(subset_size=1)
    with pytest.raises(ValueError, match=r"8 real sample\(s\), and subset_size=9 needs at least 9"):
        values(rows(8, 3, 0), rows(9, 3, 1), subsets=2, subset_size=9)
    with pytest.raises(ValueError, match="1 of 2 rows"):
        KernelDistance().update(torch.tensor([[0.0], [torch.nan]]), real=True)
