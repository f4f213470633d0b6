"""Sizes that exact doublings reach, and what is said of the others."""

from __future__ import annotations

import pytest

from gan_modules.networks import R3GANDiscriminator, R3GANGenerator, ResNetDiscriminator, ResNetGenerator
from gan_modules.networks.sizes import base_and_doublings

every_network = pytest.mark.parametrize(
    "network", [R3GANDiscriminator, R3GANGenerator, ResNetDiscriminator, ResNetGenerator], ids=lambda cls: cls.__name__
)


@pytest.mark.parametrize(
    ("size", "base", "doublings"),
    [
        ((8, 8), (4, 4), 1),
        ((14, 14), (7, 7), 1),
        ((28, 28), (7, 7), 2),
        ((32, 32), (4, 4), 3),
        ((48, 48), (6, 6), 3),
        ((128, 128), (4, 4), 5),
        ((12, 24), (6, 12), 1),
        ((96, 40), (12, 5), 3),
    ],
)
def test_bases_grow_to_the_size(size, base, doublings):
    assert base_and_doublings("N", (3, *size)) == (base, doublings)


def test_every_square_is_taken_or_answered_with_sizes_that_are():
    taken = []
    for side in range(1, 70):
        try:
            base, doublings = base_and_doublings("N", (1, side, side))
        except ValueError as error:
            advice = str(error).split("; ")[1].removesuffix(" would do.").split(" or ")
            for size in advice:
                base_and_doublings("N", (1, *map(int, size.split("x"))))
        else:
            assert 4 <= min(base) <= 7
            assert base[0] * 2**doublings == side
            taken.append(side)
    assert taken == [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]


@every_network
@pytest.mark.parametrize(
    ("size", "advice"),
    [
        ((30, 30), "28x28 or 32x32"),
        ((5, 9), "8x8 or 8x10|8x10 or 8x8"),
        ((30, 17), "28x16 or 32x16"),
        ((25, 12), "24x12 or 26x12"),
        ((4, 4), "8x8"),
    ],
)
def test_other_sizes_are_refused_naming_the_nearest(network, size, advice):
    with pytest.raises(
        ValueError, match=rf"{network.__name__}\(shape=\(3, {size[0]}, {size[1]}\)\).*; ({advice}) would"
    ):
        network((3, *size))


@every_network
@pytest.mark.parametrize("shape", [(8, 8), (1, 2, 8, 8)], ids=str)
def test_what_is_no_image_is_refused(network, shape):
    with pytest.raises(ValueError, match=rf"{network.__name__}\(shape=.*channels, height, width"):
        network(shape)
