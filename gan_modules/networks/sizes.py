"""Sizes of images that networks of exact doublings take."""

from __future__ import annotations

from collections.abc import Sequence

from gan_modules.networks.layers import check_positive

_SMALLEST_BASE = 4
_SMALLEST_SIDE = 2 * _SMALLEST_BASE  # one doubling at least


def base_and_doublings(owner: str, shape: Sequence[int]) -> tuple[tuple[int, int], int]:
    """(height, width) that grow to those of ``shape`` by exact doublings, 4 to 7 the smaller, and how many of them.

    Raises:
        ValueError: a shape that is not (channels, height, width), or a size that is no such base times a power of two.
    """
    if len(shape) != 3:
        raise ValueError(f"{owner}(shape={tuple(shape)}): an image has shape (channels, height, width).")
    channels, h, w = shape
    check_positive(owner, channels=channels, height=h, width=w)
    if not _fits(h, w):
        nearest = " or ".join(f"{a}x{b}" for a, b in _nearest(h, w))
        raise ValueError(
            f"{owner}(shape={tuple(shape)}): the smaller side must be 4, 5, 6 or 7 times a power of two from 2 on, and "
            f"that power must divide both sides; {nearest} would do."
        )
    power = _power(min(h, w))
    return (h // power, w // power), power.bit_length() - 1


def _power(side: int) -> int:
    """The power of two, from 2 on, that brings a side to a base of 4 to 7."""
    return 1 << max(1, (side // _SMALLEST_BASE).bit_length() - 1)


def _fits(height: int, width: int) -> bool:
    power = _power(min(height, width))
    return min(height, width) >= _SMALLEST_SIDE and height % power == 0 and width % power == 0


def _around(side: int, power: int) -> set[int]:
    """The multiples of ``power`` next to a side, none too small."""
    return {max(_SMALLEST_SIDE, n * power) for n in (side // power, -(-side // power))}


def _nearest(height: int, width: int) -> list[tuple[int, int]]:
    """The two sizes that fit and differ least from (height, width), or the one there is."""
    smaller, larger = sorted((height, width))
    sizes = [(a, b) for a in _around(smaller, _power(smaller)) for b in _around(larger, _power(a)) if _fits(a, b)]
    found = sizes if height <= width else [(b, a) for a, b in sizes]

    def difference(size: tuple[int, int]) -> tuple[int, int, tuple[int, int]]:
        dh, dw = size[0] - height, size[1] - width
        return abs(dh) + abs(dw), abs(dh - dw), size  # of two equally far the one that keeps a square square

    return sorted(found, key=difference)[:2]
