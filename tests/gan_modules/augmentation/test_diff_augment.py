"""Differentiable augmentation: the paper's transformations and magnitudes, for images of any kind."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules.augmentation import DiffAugment


@pytest.fixture
def transformed(random_rows):
    """A function (images, *policy) -> the images after it."""

    def apply(x, *policy, seed=0, **kwargs):
        return DiffAugment(policy, **kwargs).apply(x, random_rows(len(x), seed=seed), {})

    return apply


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 9, 5), (3, 16, 24), (5, 1, 1)])
def test_any_size_and_number_of_channels(shape, transformed):
    x = torch.rand(6, *shape)
    assert transformed(x, "color", "translation", "cutout", "flip").shape == x.shape


def test_brightness_shifts_by_up_to_its_magnitude(transformed):
    flat = torch.full((2000, 1, 4, 4), 0.5, dtype=torch.float64)  # no contrast to be scaled
    shift = (transformed(flat, "color", brightness=0.1) - flat).flatten(1)
    assert_close(shift, shift[:, :1].expand_as(shift))
    assert -0.1 <= shift.min() < -0.099
    assert 0.099 < shift.max() <= 0.1
    assert_close(transformed(flat, "color", brightness=0.0), flat)


def test_contrast_and_saturation_scale_about_the_mean(transformed):
    x = torch.rand(3000, 3, 4, 4, dtype=torch.float64)
    y = transformed(x, "color", brightness=0.0)
    assert_close(y.mean((1, 2, 3)), x.mean((1, 2, 3)))
    grey, was = y.mean(1), x.mean(1)
    contrast = ((grey - grey.mean((1, 2), keepdim=True)) / (was - was.mean((1, 2), keepdim=True))).flatten(1)
    assert_close(contrast, contrast[:, :1].expand_as(contrast))
    assert 0.5 <= contrast.min() < 0.51 < 1.49 < contrast.max() < 1.5
    colour = ((y - grey[:, None]) / (x - was[:, None])).flatten(1) / contrast[:, :1]
    assert_close(colour, colour[:, :1].expand_as(colour))
    assert 0 <= colour.min() < 0.01
    assert 1.99 < colour.max() < 2


def test_translation_moves_by_up_to_an_eighth_with_zeros_coming_in(transformed):
    x = torch.zeros(500, 2, 16, 24)
    x[:, 0, 8, 12] = 1.0
    x[:, 1, 0, 0] = 1.0
    y = transformed(x, "translation")
    at = y[:, 0].flatten(1).argmax(1)
    moves = set(zip((at // 24 - 8).tolist(), (at % 24 - 12).tolist(), strict=True))
    assert moves == {(i, j) for i in range(-2, 3) for j in range(-3, 4)}
    down, right = at // 24 - 8, at % 24 - 12
    inside = (down >= 0) & (right >= 0)  # else the corner has left the image, and must not come round
    assert torch.equal(y[:, 1].sum((1, 2)), inside.float())
    assert (y[inside, 1, down[inside], right[inside]] == 1).all()


def test_cutout_clears_a_square_of_half_the_side(transformed):
    x = torch.ones(2000, 2, 8, 12)
    gone = transformed(x, "cutout") == 0
    assert torch.equal(gone[:, 0], gone[:, 1])
    rows, columns = gone[:, 0].any(2), gone[:, 0].any(1)
    assert torch.equal(gone[:, 0], rows[:, :, None] & columns[:, None, :])
    assert (rows.sum(1).max(), columns.sum(1).max()) == (4, 6)
    # the centre lies anywhere on the image, its border included, where half of the square is cut off
    for side, half in ((rows, 2), (columns, 3)):
        assert side[side[:, 0]].sum(1).min() == side[side[:, -1]].sum(1).min() == half
    assert all(gone[:, 0, i, j].any() for i in range(8) for j in range(12))


@pytest.mark.parametrize(("size", "reach", "side"), [(8, 1, 4), (9, 1, 5), (12, 2, 6), (28, 4, 14), (32, 4, 16)])
def test_magnitudes_in_pixels_are_those_of_the_authors_code(size, reach, side, transformed):
    # int(ratio * size + 0.5)
    x = torch.zeros(1000, 1, size, size)
    x[:, 0, size // 2, size // 2] = 1.0
    at = transformed(x, "translation").flatten(1).argmax(1)
    for place in (at // size, at % size):
        assert ((place - size // 2).min(), (place - size // 2).max()) == (-reach, reach)
    gone = transformed(torch.ones(1000, 1, size, size), "cutout")[:, 0] == 0
    assert gone.any(2).sum(1).max() == gone.any(1).sum(1).max() == side


def test_flip_mirrors_half_of_the_rows(transformed):
    x = torch.rand(1000, 1, 3, 4)
    y = transformed(x, "flip")
    mirrored = (y == x.flip(3)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_every_transformation_has_numbers_of_its_own(transformed):
    x = torch.rand(4, 3, 16, 16)
    once = transformed(x, "translation")
    assert not torch.equal(transformed(x, "cutout", "translation"), transformed(once, "cutout"))  # in the order given
    assert torch.equal(transformed(once, "cutout"), transformed(x, "translation", "cutout"))


def test_takes_the_list_that_a_configuration_gives():
    assert DiffAugment(["color", "flip"]) == DiffAugment(("color", "flip"))


@pytest.mark.parametrize("shape", [(2,), (8, 8), (1, 4, 4, 4)])
def test_rows_that_are_no_images_are_refused(shape, transformed):
    with pytest.raises(ValueError, match=r"needs images \(channels, height, width\).*InstanceNoise"):
        transformed(torch.zeros(3, *shape), "flip")


def test_mistakes():
    with pytest.raises(ValueError, match="hue, blur not known; it has color, translation, cutout, flip"):
        DiffAugment(("hue", "flip", "blur"))
    with pytest.raises(ValueError, match=r"sequence of names"):
        DiffAugment("color")
    with pytest.raises(ValueError, match="brightness=-1"):
        DiffAugment(brightness=-1.0)
