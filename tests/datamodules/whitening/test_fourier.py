"""Fourier whitening: exact for the average over shifts, right for stationary images, and what it is for others."""

from __future__ import annotations

import math

import pytest
import torch
from whitening_recipes import images

from datamodules.whitening import FourierWhitening, ZCAWhitening


def every_shift(x):
    """All cyclic shifts of images (N, C, H, W): (N H W, C, H, W)."""
    height, width = x.shape[-2:]
    return torch.cat([x.roll((i, j), (-2, -1)) for i in range(height) for j in range(width)])


def stationary(n, shape, seed=0):
    """Images (n, *shape) of a periodic stationary Gaussian: white noise through one filter per pair of channels."""
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    filters = torch.randn(channels, channels, height, width, generator=torch.Generator().manual_seed(1)).double()
    filters = filters * torch.exp(-torch.arange(width) / 1.5) * torch.exp(-torch.arange(height) / 1.5)[:, None]
    noise = torch.fft.rfft2(torch.randn(n, *shape, generator=generator, dtype=torch.float64))
    return torch.fft.irfft2(torch.einsum("cdhw,ndhw->nchw", torch.fft.rfft2(filters), noise), s=(height, width)) + 0.5


def covariance(x):
    return x.flatten(1).T.cov()


@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 3, 5), (3, 5, 4), (1, 1, 7), (2, 6, 1)], ids=str)
def test_the_covariance_averaged_over_shifts_becomes_the_identity(shape):
    x = torch.randn(60, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).cumsum(-1).cumsum(-2)
    y = FourierWhitening().fit([x])(x)
    assert y.mean(0).abs().max() < 1e-10
    assert torch.allclose(covariance(every_shift(y)) * (60 * y[0, 0].numel() - 1) / (59 * y[0, 0].numel()),
                          torch.eye(math.prod(shape)).double(), rtol=0, atol=1e-8)  # fmt: skip


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_it_is_zca_of_the_covariance_averaged_over_shifts(power):
    x = images(40)
    x = x - x.mean(0)
    shifted = every_shift(x)
    bessel = (len(shifted) - 1) / len(shifted) * 40 / 39  # each estimate has its own number of samples
    expected = ZCAWhitening(power).fit([shifted])(x) * bessel ** (-power / 2)
    assert torch.allclose(FourierWhitening(power).fit([x])(x), expected, rtol=0, atol=1e-9)


def test_report_counts_every_real_degree_of_freedom():
    x = images(40)
    x = x - x.mean(0)
    for width in (3, 2):  # odd and even
        cut = x[..., :width]
        fourier, dense = (cls(0.5).fit([data]).report() for cls, data in
                          ((FourierWhitening, cut), (ZCAWhitening, every_shift(cut))))  # fmt: skip
        assert (fourier.rank, fourier.dimension) == (6 * width, 6 * width)
        assert fourier.condition_before == pytest.approx(dense.condition_before, rel=1e-8)
        assert fourier.condition_after == pytest.approx(dense.condition_before**0.5, rel=1e-8)


def test_few_stationary_images_are_enough_to_whiten_others():
    shape = (2, 8, 8)
    whitening = FourierWhitening().fit([stationary(500, shape)])  # ZCA needs many times their 128 dimensions
    held_out = stationary(20_000, shape, seed=2)
    raw = torch.linalg.eigvalsh(covariance(held_out))
    spectrum = torch.linalg.eigvalsh(covariance(whitening(held_out)))
    assert raw[-1] / raw[0] > 50
    assert spectrum[0] > 0.7
    assert spectrum[-1] < 1.4
    report = whitening.report()
    assert report.condition_before == pytest.approx((raw[-1] / raw[0]).item(), rel=0.5)


def test_data_that_are_not_stationary_stay_correlated_between_frequencies():
    envelope = torch.linspace(0.1, 2, 8).double()
    x = envelope * torch.randn(4000, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = FourierWhitening().fit([x])(x)
    variance = y.var(0).mean((0, 1))
    assert variance.mean() == pytest.approx(1, abs=1e-3)  # on average over places, not at each
    assert variance[-1] / variance[0] > 50


def test_frequencies_without_variance_are_left_out_and_come_back_as_the_mean():
    x = stationary(100, (1, 8, 8))
    flat = x - x.mean((-2, -1), keepdim=True) + 3  # no variance at frequency 0
    for data in (flat, flat.float()):
        whitening = FourierWhitening().fit([data])
        report = whitening.report()
        assert (report.rank, report.dimension) == (63, 64)
        tolerance = 100 * torch.finfo(data.dtype).eps
        assert whitening(data + 1).mean((-2, -1)).abs().max() < tolerance
        assert torch.allclose(whitening.inverse(whitening(data + 1)), data, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 7, 9)], ids=str)
def test_a_frequency_is_kept_however_weak_it_is_beside_others_until_rounding_hides_it(shape):
    amplitude = torch.logspace(0, -9, shape[-1] // 2 + 1).double()  # variances over 18 decades
    noise = torch.fft.rfft2(torch.randn(50, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    x = torch.fft.irfft2(noise * amplitude, s=shape[1:])
    whitening = FourierWhitening().fit([x])
    assert whitening.report().rank == math.prod(shape)
    y = whitening(x)
    power = torch.fft.rfft2(y, norm="ortho").abs().square().sum(0) / 49
    assert torch.allclose(power, torch.ones_like(power), rtol=0, atol=1e-4)
    assert torch.allclose(whitening.inverse(y), x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 97, 101), (2, 64, 64)], ids=str)
def test_what_the_transform_rounds_is_not_whitened(shape):
    spectrum = torch.zeros(20, *shape[:2], shape[2] // 2 + 1, dtype=torch.complex128)
    spectrum[..., 1:9] = torch.randn(20, *shape[:2], 8, generator=torch.Generator().manual_seed(0)).double()
    x = torch.fft.irfft2(spectrum, s=shape[1:])
    assert FourierWhitening().fit([x]).report().rank == 2 * 8 * shape[0] * shape[1]


def test_epsilon_is_the_variance_of_white_noise():
    x = stationary(2000, (1, 8, 8))
    plain = FourierWhitening().fit([x])
    y = FourierWhitening(epsilon=0.7).fit([x])(x)
    gain = (plain.variance / (plain.variance + 0.7)).sqrt()
    found = torch.fft.rfft2(y, norm="ortho").abs().square().sum(0)[0] / 1999
    assert torch.allclose(found, gain[..., 0].square(), rtol=1e-8)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 2, 3, 4)], ids=str)
def test_only_images_are_taken(shape):
    with pytest.raises(ValueError, match=r"takes images of shape \(C, H, W\), got samples of shape"):
        FourierWhitening().fit([torch.zeros(4, *shape)])


def test_as_many_images_as_channels_are_too_few():
    with pytest.raises(ValueError, match="3 images of 3 channels: only n - 1 = 2"):
        FourierWhitening().fit([torch.rand(3, 3, 4, 4)])


def test_rounding_of_float32_data_is_not_whitened():
    x = stationary(100, (2, 8, 8))
    flat = x - x.mean((-2, -1), keepdim=True)
    whitening = FourierWhitening().fit([(flat + 1000).float()])  # rounded, so not quite flat any more
    assert whitening.report().rank == 2 * 63
    assert whitening.report().dropped < 1e-8
