"""Samples that are what they are taken for: floating, finite, and in range."""

from __future__ import annotations

from torch import Tensor

ROUND_OFF = 1e-3  # of the range, a quarter of a step of uint8: samples this far out are clamped, others refused


def in_range(samples: Tensor, value_range: tuple[float, float] | None, taker: str) -> Tensor:
    """Samples (N, ...) without a graph, what round-off put out of range clamped.

    Args:
        samples: in data space.
        value_range: least and greatest value; None where there is no bound.
        taker: who takes them, for messages.

    Raises:
        ValueError: not floating, not finite, or out of range by more than round-off.
    """
    if not samples.is_floating_point():
        raise ValueError(f"samples are {samples.dtype}; {taker} takes floats in data space (uint8 images / 255).")
    samples = samples.detach()
    if not samples.numel():
        return samples
    least, largest = (float(value) for value in samples.aminmax())  # NaN where there is one
    if not (abs(least) < float("inf") and abs(largest) < float("inf")):
        bad = int((~samples.isfinite()).flatten(1).any(1).sum())
        raise ValueError(
            f"{bad} of {len(samples)} samples are not finite (NaN or infinity): the generator has diverged or the "
            "data are damaged. Leave such samples out, and count them, rather than average over the others."
        )
    if value_range is None or value_range[0] <= least <= largest <= value_range[1]:
        return samples
    low, high = value_range
    slack = ROUND_OFF * (high - low)
    if low - slack <= least and largest <= high + slack:
        return samples.clamp(low, high)
    outside = int(((samples < low) | (samples > high)).sum())
    raise ValueError(
        f"samples go from {least:.4g} to {largest:.4g}, and {outside:,} of {samples.numel():,} values are outside "
        f"[{low:g}, {high:g}], which {taker} takes: bring them to data space (the datamodule's `decode`), or clamp "
        f"them ({low:g}, {high:g}) if that is meant."
    )
