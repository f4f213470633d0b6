"""Standardisation."""

from __future__ import annotations

import torch

from datamodules.whitening import Standardize


def test_coordinates_get_zero_mean_and_unit_variance():
    scales = torch.logspace(-3, 3, 12, dtype=torch.float64)
    x = 5 + scales * torch.rand(200, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = Standardize().fit(x.split(11))(x.reshape(200, 12))
    assert y.mean(0).abs().max() < 1e-10
    assert torch.allclose(y.var(0), torch.ones(12, dtype=torch.float64))


def test_small_scales_next_to_large_ones_are_signal():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, 2, generator=generator) * torch.tensor([1e6, 1e-6])
    assert torch.allclose(Standardize().fit([x])(x).std(0), torch.ones(2), rtol=1e-4)


def test_flicker_of_the_last_bit_is_not_signal():
    x = torch.full((100, 2), 1000.0)
    x[::2, 0] = torch.nextafter(x[::2, 0], torch.tensor(torch.inf))
    x[::2, 1] = 1001.0
    y = Standardize().fit([x])(x)
    assert y[:, 0].abs().max() == 0
    assert torch.allclose(y[:, 1].std(), torch.tensor(1.0), rtol=1e-3)
