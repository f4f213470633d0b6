"""The ring of Gaussians."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules import RingDataModule


def test_modes_are_distinct_equally_spaced_and_leave_out_the_end_point():
    means = RingDataModule(batch_size=1, modes=8, radius=2.0).truth.means
    neighbours = (means - means.roll(1, 0)).norm(dim=1)
    assert torch.allclose(neighbours, torch.full((8,), 4 * math.sin(math.pi / 8), dtype=torch.float64))
    assert torch.allclose(means.norm(dim=1), torch.tensor(2.0, dtype=torch.float64))


def test_samples_follow_the_mixture():
    module = RingDataModule(batch_size=1, std=0.02, train_size=80_000)
    samples, labels = module.load("train")
    residual = samples - module.truth.means[labels]
    assert torch.bincount(labels).sub(10_000).abs().max() < 400  # 4 std of a binomial
    assert residual.mean(0).abs().max() < 3e-4  # 4 std of the mean of 80,000
    assert torch.allclose(residual.std(0), torch.tensor(0.02, dtype=torch.float64), rtol=0.01)
    # a perfect sampler's share of high quality, 1 - exp(-9/2)
    assert (module.truth.assign(samples) >= 0).float().mean() == pytest.approx(0.98889, abs=0.0015)


def test_data_seed_draws_the_samples_and_seed_only_orders_them():
    def train(**kwargs):
        return RingDataModule(batch_size=1, train_size=50, **kwargs).load("train")[0]

    assert torch.equal(train(seed=0), train(seed=1))
    assert not torch.equal(train(data_seed=0), train(data_seed=1))


def test_sizes_are_respected():
    module = RingDataModule(batch_size=1, modes=5, train_size=30, val_size=20, test_size=10)
    assert [len(module.load(split)[0]) for split in ("train", "val", "test")] == [30, 20, 10]
    assert module.num_classes == module.truth.num_modes == 5


@pytest.mark.parametrize("name", ["modes", "radius", "std", "train_size", "val_size", "test_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_arguments_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
        RingDataModule(batch_size=1, **{name: value})


def test_a_misspelt_argument_is_an_error():
    with pytest.raises(TypeError, match="mode_count"):
        RingDataModule(batch_size=1, mode_count=8)
