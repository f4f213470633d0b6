"""The grid of Gaussians."""

from __future__ import annotations

import pytest
import torch

from datamodules import GridDataModule


def test_the_default_is_the_published_grid():
    truth = GridDataModule(batch_size=1).truth
    published = [[x, y] for x in (-4.0, -2.0, 0.0, 2.0, 4.0) for y in (-4.0, -2.0, 0.0, 2.0, 4.0)]
    assert truth.means.tolist() == published
    assert truth.std.tolist() == [0.05] * 25


@pytest.mark.parametrize(("side", "dimension", "modes"), [(1, 2, 1), (4, 1, 4), (3, 3, 27), (10, 3, 1000)])
def test_any_side_and_dimension(side, dimension, modes):
    module = GridDataModule(batch_size=1, side=side, dimension=dimension, spacing=3.0, val_size=500)
    means = module.truth.means
    assert means.shape == (modes, dimension)
    assert module.num_classes == modes
    assert torch.allclose(means.mean(0), torch.zeros(dimension, dtype=torch.float64))
    if modes > 1:
        assert torch.pdist(means).min() == 3.0
    samples, labels = module.load("val")
    assert samples.shape == (500, dimension)
    mode = module.truth.assign(samples)
    assert ((mode == labels) | (mode == -1)).all()


@pytest.mark.parametrize("name", ["side", "dimension", "spacing", "std"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_arguments_must_be_positive(name, value):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got {value}"):
        GridDataModule(batch_size=1, **{name: value})
