"""Moments against torch, and where naive sums fail."""

from __future__ import annotations

import pytest
import torch

from datamodules.whitening.moments import Moments


def samples(n=101):
    return torch.randn(n, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(2)


@pytest.mark.parametrize("sizes", [[101], [1] * 101, [1, 50, 0, 50], [0, 100, 1]])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_any_batching_gives_the_moments_of_the_whole(sizes, offset):
    x = samples()
    full = Moments(full=True).consume((x + offset).split(sizes))
    diagonal = Moments(full=False).consume((x + offset).split(sizes))
    assert (full.count, full.shape) == (101, (2, 3))
    assert torch.allclose(full.mean - offset, x.flatten(1).mean(0), rtol=0, atol=1e-7 if offset else 1e-12)
    assert torch.allclose(full.covariance, x.flatten(1).T.cov(), rtol=0, atol=1e-6 if offset else 1e-12)
    assert torch.allclose(diagonal.covariance, full.covariance.diagonal(), rtol=1e-12)


def test_low_precision_samples_are_summed_in_float64():
    x = samples(1000).float()
    moments = Moments(full=True).consume(x.split(3))
    assert moments.mean.dtype == torch.float64
    assert torch.allclose(moments.covariance, x.double().flatten(1).T.cov(), rtol=0, atol=1e-12)


def test_constants_have_no_variance_at_all():
    x = torch.full((1000, 2), 0.1, dtype=torch.float64)
    assert Moments(full=False).consume(x.split(7)).covariance.abs().max() == 0


def test_resolution_is_the_rounding_of_the_coarsest_dtype_seen():
    x = 1000 + samples().flatten(1)
    fine = Moments(full=False).consume([x]).resolution
    coarse = Moments(full=False).consume([x, x.float()]).resolution
    rms = (1000 * torch.finfo(torch.float32).eps) ** 2
    assert torch.allclose(coarse, torch.full((6,), rms, dtype=torch.float64), rtol=0.05)
    assert (fine < 1e-16 * coarse).all()
