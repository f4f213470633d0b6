from __future__ import annotations

import math

import matplotlib as mpl
import pytest
import torch
from torch import Tensor

from callbacks.metrics import PowerSpectrum
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.power_spectrum import ring_power, rings


def noise(n: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def spectra(real: Tensor, generated: Tensor) -> tuple[PowerSpectrum, float]:
    metric = PowerSpectrum()
    metric.update(real, True)
    metric.update(generated, False)
    return metric, metric.compute().item()


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 9, 9), (2, 12, 7), (1, 5, 20)])
def test_white_noise_is_flat_at_its_variance(shape: tuple[int, ...]) -> None:
    metric, distance = spectra(noise(3000, *shape), 2 * noise(3000, *shape, seed=1))
    assert len(metric.frequencies) == min(shape[1:]) // 2
    torch.testing.assert_close(metric.real, torch.ones_like(metric.real), rtol=0.05, atol=0)
    assert distance == pytest.approx(math.log10(4), abs=0.02)  # four times the power at all frequencies


@pytest.mark.parametrize(("v", "u"), [(0, 3), (4, 0), (2, 2), (8, 0), (0, 8)])
def test_a_wave_has_its_power_in_the_ring_of_its_frequency(v: int, u: int) -> None:
    size, amplitude = 16, 0.3
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    wave = amplitude * torch.cos(2 * torch.pi * (v * y + u * x) / size + 0.4)
    metric, _ = spectra(0.5 + wave[None, None], noise(1, 1, size, size))
    ring = round(math.hypot(v, u)) - 1
    assert metric.real.argmax() == ring
    assert metric.frequencies[ring].item() == pytest.approx(math.hypot(v, u) / size, abs=0.5 / size)
    # the mean square of the pixels (Parseval) is all in the ring: |F|^2 / HW summed, over HW
    total = metric.real * rings(size, size)[1]
    assert total[ring].item() / size**2 == pytest.approx(wave.square().mean().item(), rel=1e-5)
    assert total.sum().item() == pytest.approx(total[ring].item(), rel=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (6, 11)])
def test_parseval(size: tuple[int, int]) -> None:
    # of frequencies within the shorter side's Nyquist, so that no power is in the corners
    images = noise(5, 2, *size).double()
    spectrum = torch.fft.fft2(images)
    radius = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.fftfreq(size[1]))
    spectrum[..., (radius > (min(size) // 2) / min(size)) | (radius * min(size) < 0.5)] = 0
    images = torch.fft.ifft2(spectrum).real
    total = (ring_power(images) * rings(*size)[1]).sum() / math.prod(size)
    assert total.item() == pytest.approx(images.square().mean((1, 2, 3)).sum().item(), rel=1e-6)


def test_a_field_of_known_spectrum_and_the_distance_between_two() -> None:
    size, n = 16, 4000
    radius = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.fftfreq(size)).double()

    def field(slope: float, seed: int) -> Tensor:
        white = torch.fft.fft2(noise(n, 1, size, size, seed=seed).double())
        return torch.fft.ifft2(white * radius.clamp_min(1 / size) ** (-slope / 2)).real

    metric, distance = spectra(field(2.0, 0), field(1.0, 1))

    def expected(slope: float) -> Tensor:
        ring, count, _ = rings(size, size)
        full = (radius.clamp_min(1 / size) ** -slope)[:, : size // 2 + 1]
        times = torch.full((size // 2 + 1,), 2.0).double()
        times[[0, -1]] = 1
        return torch.zeros(len(count) + 1).double().index_add(0, ring, (full * times).flatten())[:-1] / count

    torch.testing.assert_close(metric.real, expected(2.0), rtol=0.05, atol=0)
    torch.testing.assert_close(metric.generated, expected(1.0), rtol=0.05, atol=0)
    difference = expected(2.0).log10() - expected(1.0).log10()
    assert distance == pytest.approx(difference.square().mean().sqrt().item(), abs=0.02)


def test_brightness_and_the_signs_of_detail_do_not_matter() -> None:
    images = noise(50, 3, 8, 8)
    assert spectra(images, 0.7 - images)[1] == pytest.approx(0, abs=1e-6)
    assert spectra(images, images.flip(3))[1] == pytest.approx(0, abs=1e-6)


def test_images_without_detail_are_far_from_others_and_not_from_each_other() -> None:
    flat = torch.full((10, 1, 8, 8), 0.5)
    assert 3 < spectra(noise(10, 1, 8, 8), flat)[1] < 10.5
    assert spectra(flat, 0.5 * flat)[1] == 0
    assert spectra(torch.zeros_like(flat), flat)[1] == 0


def test_stripes_of_upsampling_are_seen_at_the_highest_frequency() -> None:
    real, other = (torch.nn.functional.avg_pool2d(noise(500, 1, 34, 34, seed=seed), 3, 1) for seed in (0, 1))
    _, floor = spectra(real, other)
    metric, distance = spectra(real, other + torch.tensor([0.25, -0.25]).repeat(16))
    assert distance > 4 * floor
    assert (metric.generated / metric.real).argmax() == 15


def test_a_picture_of_both() -> None:
    mpl.use("Agg")
    metric, _ = spectra(noise(10, 1, 8, 8), noise(10, 1, 8, 8, seed=1))
    for picture in (metric.plot(), PowerSpectrum.plot(metric, ax=metric.plot()[1])):
        assert [line.get_label() for line in picture[1].lines][:2] == ["real", "generated"]
        assert picture[1].get_xlabel() == "frequency (cycles per pixel)"


def test_what_are_no_images_is_refused() -> None:
    for shape in ((), (2,), (1, 3, 9), (3, 8, 8, 8)):
        with pytest.raises(NotApplicable, match="needs images"):
            PowerSpectrum().setup(Known(shape=shape))
    PowerSpectrum().setup(Known(shape=(1, 8, 8)))
    metric = PowerSpectrum()
    for samples in (torch.rand(4, 64), torch.rand(4, 1, 3, 9)):
        with pytest.raises(ValueError, match=r"must be \(N, C, H, W\)"):
            metric.update(samples, False)
    with pytest.raises(ValueError, match="not finite"):
        metric.update(torch.full((4, 1, 8, 8), math.nan), False)
    metric.update(torch.rand(4, 1, 8, 8), True)
    with pytest.raises(ValueError, match=r"\(1, 4, 16\) follow others of \(1, 8, 8\)"):
        metric.update(torch.rand(4, 1, 4, 16), False)
    with pytest.raises(ValueError, match=r"0 generated sample\(s\), and needs at least 1"):
        metric.compute()
