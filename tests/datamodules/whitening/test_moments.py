"""Moments against torch, and where naive sums fail."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules.whitening.moments import ELEMENTS, ROWS, Moments, cross_spectra, outer_products, squares


def samples(n=101, shape=(2, 3)):
    x = torch.randn(n, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x.cumsum(-1)


@pytest.mark.parametrize("sizes", [[101], [1] * 101, [1, 50, 0, 50], [0, 100, 1]])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_any_batching_gives_the_moments_of_the_whole(sizes, offset):
    x = samples()
    full = Moments(outer_products).consume((x + offset).split(sizes))
    diagonal = Moments(squares).consume((x + offset).split(sizes))
    assert (full.count, full.shape) == (101, (2, 3))
    assert torch.allclose(full.mean - offset, x.mean(0), rtol=0, atol=1e-7 if offset else 1e-12)
    assert torch.allclose(full.covariance, x.flatten(1).T.cov(), rtol=0, atol=1e-6 if offset else 1e-12)
    assert torch.allclose(diagonal.covariance.flatten(), full.covariance.diagonal(), rtol=1e-12)


@pytest.mark.parametrize("products", [squares, outer_products, cross_spectra], ids=lambda f: f.__name__)
def test_batches_do_not_change_a_bit(products):
    n = 2 * ROWS + 300
    x = samples(n, (2, 3, 2))
    whole = Moments(products).consume([x])
    for size in (1, 37, ROWS, ROWS + 1):
        parts = Moments(products).consume(x.split(size))
        assert torch.equal(parts.mean, whole.mean)
        assert torch.equal(parts.scatter, whole.scatter)


def test_large_samples_are_taken_in_smaller_chunks():
    d = ELEMENTS // 3 + 1  # two samples a chunk
    x = torch.stack([torch.full((d,), float(i)) for i in range(5)])
    moments = Moments(squares).consume([x])
    assert torch.equal(moments.mean, torch.full((d,), 2.0, dtype=torch.float64))
    assert torch.allclose(moments.covariance, torch.full((d,), 2.5, dtype=torch.float64))


@pytest.mark.parametrize("width", [4, 5])
def test_cross_spectra_are_the_transform_of_the_covariance(width):
    x = samples(50, (2, 3, width))
    spectra = Moments(cross_spectra).consume([x]).covariance
    transformed = torch.fft.rfft2(x - x.mean(0), norm="ortho")
    expected = torch.einsum("nihw,njhw->hwij", transformed, transformed.conj()) / 49
    assert torch.allclose(spectra, expected, rtol=0, atol=1e-12)


def test_low_precision_samples_are_summed_in_float64():
    x = samples(1000).float()
    moments = Moments(outer_products).consume(x.split(3))
    assert moments.mean.dtype == torch.float64
    assert torch.allclose(moments.covariance, x.double().flatten(1).T.cov(), rtol=0, atol=1e-12)


def test_constants_have_no_variance_at_all():
    x = torch.full((1000, 2), 0.1, dtype=torch.float64)
    assert Moments(squares).consume(x.split(7)).covariance.abs().max() == 0


def test_resolution_is_the_rounding_of_the_coarsest_dtype_seen():
    x = 1000 + samples().flatten(1)
    fine, coarse = Moments(squares).consume([x]), Moments(squares).consume([x, x.float()])
    rms = (1000 * torch.finfo(torch.float32).eps) ** 2
    resolution = coarse.resolution(coarse.covariance)
    assert torch.allclose(resolution, torch.full((6,), rms, dtype=torch.float64), rtol=0.05)
    assert (fine.resolution(fine.covariance) < 1e-16 * resolution).all()


@pytest.mark.parametrize("index", [0, 7, ROWS + 5])
def test_a_bad_sample_is_named_by_its_place_in_the_stream(index):
    x = torch.zeros(ROWS + 10, 3)
    x[index, 1:] = math.nan
    with pytest.raises(ValueError, match=rf"sample {index} of the stream .* holds 2 NaN or infinite values"):
        Moments(squares).consume(x.split(4))


def test_a_refused_shape_is_refused_before_a_second_batch():
    def stream():
        yield torch.zeros(2, 3)
        raise AssertionError("a second batch was read")

    def refuse(shape):
        raise ValueError(f"refused {shape}")

    with pytest.raises(ValueError, match=r"refused \(3,\)"):
        Moments(squares, refuse).consume(stream())
