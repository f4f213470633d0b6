from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from callbacks.metrics import FrechetDistance, Pixels, RandomProjection


def images(n: int, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_the_matrix_depends_on_seed_and_size_alone() -> None:
    samples = images(5)
    torch.manual_seed(1)
    first = RandomProjection(64)(samples)
    torch.manual_seed(2)
    assert torch.equal(RandomProjection(64)(samples.flip(0)).flip(0), first)
    assert not torch.equal(RandomProjection(64, seed=1)(samples), first)
    assert RandomProjection(64).hash == RandomProjection(64).hash
    assert len({RandomProjection(64).hash, RandomProjection(64, seed=1).hash, RandomProjection(65).hash}) == 3


def test_the_hash_is_known_before_the_first_batch() -> None:
    extractor = RandomProjection(64)
    before = extractor.hash
    extractor(images(2))
    assert extractor.hash == before


def test_it_is_linear_and_gaussian() -> None:
    matrix = RandomProjection(256)(torch.eye(768)) * 16
    assert matrix.mean().abs() < 5 / 443  # standard errors of 768 x 256 entries
    assert (matrix.square().mean() - 1).abs() < 5 * 2**0.5 / 443
    assert (matrix.pow(4).mean() - 3).abs() < 5 * 96**0.5 / 443
    correlations = torch.corrcoef(matrix).fill_diagonal_(0)
    assert correlations.abs().max() < 6 / 16


def test_distances_are_kept_with_the_stated_spread() -> None:
    a, b = images(1000), images(1000, seed=1)
    for d in (64, 256):
        ratios = []
        for seed in range(10):
            extractor = RandomProjection(d, seed=seed)
            projected = (extractor(a) - extractor(b)).square().sum(1)
            ratios.append(projected / (a - b).flatten(1).square().sum(1))
        ratio = torch.stack(ratios)
        assert ratio.mean() == pytest.approx(1, abs=0.02)
        assert ratio.std() == pytest.approx((2 / d) ** 0.5, rel=0.1)


def test_a_shift_has_its_frechet_distance_on_average() -> None:
    real, shift = images(400), 0.1 * torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(2))
    values = []
    for extractor in (Pixels(), RandomProjection(256)):
        metric = FrechetDistance()
        metric.update(extractor(real), real=True)
        metric.update(extractor(real + shift), real=False)
        values.append(float(metric.compute()))
    assert values[0] == pytest.approx(shift.square().sum().item(), rel=1e-4)
    assert values[1] == pytest.approx(values[0], rel=4 * (2 / 256) ** 0.5)


def test_large_images_are_drawn_in_parts_and_all_rows_differ() -> None:
    samples = torch.zeros(2, 10_000)
    samples[0, 0], samples[1, 4096] = 1, 1
    first, second = RandomProjection(16)(samples)
    assert (first - second).abs().min() > 0


def test_another_shape_than_the_first_is_refused() -> None:
    extractor = RandomProjection(8)
    extractor(images(2))
    with pytest.raises(ValueError, match="samples of 192 values, but the first ones had 768"):
        copy.deepcopy(extractor)(torch.rand(2, 3, 8, 8))
    with pytest.raises(ValueError, match="num_features=0 must be at least 1"):
        RandomProjection(0)
