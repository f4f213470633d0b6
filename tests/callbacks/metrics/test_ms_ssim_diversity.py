from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from callbacks.metrics import DigitsClassifier, MSSSIMDiversity
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.ms_ssim_diversity import protocol
from datamodules import DigitsDataModule


def images(n: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Smooth random images, which are alike to some extent."""
    noise = torch.rand(n, channels, height + 6, width + 6, generator=torch.Generator().manual_seed(seed))
    return 0.5 + 2 * (torch.nn.functional.avg_pool2d(noise, 7, stride=1) - 0.5)


def values(*batches: Tensor, **kwargs: int) -> dict[str, float]:
    metric = MSSSIMDiversity(**kwargs)
    for batch in batches:
        metric.update(batch)
    return {name: value.item() for name, value in metric.compute().items()}


def test_five_scales_are_torchmetrics_own() -> None:
    one, two = images(2, 3, 176, 180)
    found = values(torch.stack([one, two]))
    expected = ms_ssim(one[None], two[None], data_range=(0.0, 1.0)).item()
    assert found == {"ms_ssim": pytest.approx(expected), "ms_ssim_scales": 5, "ms_ssim_window": 11}
    assert 0.05 < expected < 0.95


def test_one_scale_is_structural_similarity() -> None:
    one, two = images(2, 1, 8, 8)
    found = values(torch.stack([one, two]))
    expected = ssim(one[None], two[None], sigma=1.5 * 7 / 11, kernel_size=7, data_range=(0.0, 1.0))
    assert isinstance(expected, Tensor)
    expected = expected.item() ** 1.0001  # the sum of Wang's exponents
    assert found == {"ms_ssim": pytest.approx(expected), "ms_ssim_scales": 1, "ms_ssim_window": 7}


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        *[(3, (1, 3)), (4, (1, 3)), (8, (1, 7)), (10, (1, 9)), (11, (1, 11)), (21, (1, 11)), (22, (2, 11))],
        *[(32, (2, 11)), (43, (2, 11)), (44, (3, 11)), (98, (3, 11)), (99, (4, 11)), (175, (4, 11)), (176, (5, 11))],
    ],
)
def test_scales_and_window_fit_the_image_and_no_more_would(size: int, expected: tuple[int, int]) -> None:
    assert protocol(size, size + 40) == protocol(size + 40, size) == expected
    found = values(images(2, 1, size, size))
    assert (found["ms_ssim_scales"], found["ms_ssim_window"]) == expected
    assert 0 <= found["ms_ssim"] <= 1


def test_pairs_are_disjoint_and_of_different_images() -> None:
    one, two = images(2, 1, 16, 16)
    same = values(one.repeat(9, 1, 1, 1))["ms_ssim"]
    assert same == pytest.approx(1)
    assert values(one[None], two[None])["ms_ssim"] < 0.9
    three = torch.stack([one, two, one])  # one of three images is left over
    assert 0 <= values(three)["ms_ssim"] <= 1


def test_the_mean_does_not_depend_on_how_pairs_are_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = images(41, 3, 12, 12)
    whole = values(samples)
    monkeypatch.setattr("callbacks.metrics.ms_ssim_diversity._BLOCK", 3 * 3 * 12 * 12)
    assert values(samples) == pytest.approx(whole, rel=1e-6)


def test_digits_of_one_class_are_more_alike_than_digits() -> None:
    digits = torch.cat([DigitsDataModule(batch_size=1).load(split)[0] for split in ("val", "test")])
    every = values(digits)["ms_ssim"]
    classes = DigitsClassifier().classify(digits)
    assert all(values(digits[classes == k])["ms_ssim"] > every + 0.1 for k in range(10))


def test_more_images_than_the_capacity_are_a_random_subset() -> None:
    metric = MSSSIMDiversity(capacity=10)
    metric.update(images(100, 1, 8, 8))
    assert len(metric.kept("fake")) == 10
    assert metric.compute()["ms_ssim"].item() > 0


def test_images_of_another_range_are_refused() -> None:
    samples = images(20, 1, 8, 8)
    with pytest.raises(ValueError, match=r"outside \[0, 1\], which MSSSIMDiversity takes"):
        values(2 * samples - 1)
    rounded = samples.clamp(1e-5, 1) - 2e-5
    assert values(rounded) == values(rounded.clamp(0, 1))


def test_what_are_no_images_is_refused() -> None:
    for shape in ((), (2,), (1, 2, 9), (3, 8, 8, 8)):
        with pytest.raises(NotApplicable, match="needs images"):
            MSSSIMDiversity().setup(Known(shape=shape))
    MSSSIMDiversity().setup(Known(shape=(1, 8, 8)))
    metric = MSSSIMDiversity()
    for samples in (torch.rand(4, 64), torch.rand(4, 1, 2, 9)):
        with pytest.raises(ValueError, match=r"must be \(N, C, H, W\)"):
            metric.update(samples)
    with pytest.raises(ValueError, match="not finite"):
        metric.update(torch.full((4, 1, 8, 8), math.nan))
    with pytest.raises(ValueError, match=r"uint8.*/ 255"):
        metric.update(torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    metric.update(images(4, 1, 8, 8))
    with pytest.raises(ValueError, match=r"\(1, 4, 16\) follow others of \(1, 8, 8\)"):
        metric.update(images(4, 1, 4, 16))


def test_too_few_images_are_named() -> None:
    metric = MSSSIMDiversity()
    metric.update(images(5, 1, 8, 8), real=True)
    metric.update(images(1, 1, 8, 8))
    with pytest.raises(ValueError, match=r"1 generated sample\(s\), and a pair needs 2"):
        metric.compute()
