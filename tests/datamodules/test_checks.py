"""Every error names the split, what is wrong with it, its value, and the fix."""

from __future__ import annotations

import math

import pytest
import torch

from datamodules.checks import Promise, require_positive

GOOD = {"samples": torch.rand(4, 1, 2, 2), "labels": torch.tensor([0, 1, 2, 0])}
PROMISED = {"shape": (1, 2, 2), "num_classes": 3, "value_range": (0.0, 1.0)}


def check(split, samples, labels, **promised):
    Promise(**promised).check(split, samples, labels)


def test_what_was_promised_passes():
    check("train", **GOOD, **PROMISED)
    check("train", **{**GOOD, "labels": None}, **{**PROMISED, "num_classes": None})
    check("train", **{**GOOD, "samples": torch.zeros(4, 1, 2, 2, dtype=torch.uint8)}, **PROMISED)
    check("train", **{**GOOD, "samples": 5 - GOOD["samples"]}, **{**PROMISED, "value_range": None})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": torch.rand(0, 1, 2, 2)}, "the val split has 0 samples"),
        ({"samples": torch.rand(4, 2, 2)}, r"shape \(4, 2, 2\), expected \(N, 1, 2, 2\); .* correct .* shape"),
        ({"samples": torch.full((4, 1, 2, 2), math.nan)}, "val samples hold 16 NaN or infinite"),
        (
            {"samples": torch.zeros(4, 1, 2, 2, dtype=torch.int32)},
            "torch.int32; pass uint8 images, or floating-point",
        ),
        (
            {"samples": torch.zeros(4, 1, 2, 2, dtype=torch.uint8), "value_range": None},
            r"uint8, .* value_range is None",
        ),
        ({"samples": 255 * torch.ones(4, 1, 2, 2)}, r"span \[255, 255\], outside \(0.0, 1.0\); rescale"),
        ({"labels": None}, "num_classes is 3 but load\\('val'\\) returned no labels"),
        ({"num_classes": None}, "num_classes is None but load\\('val'\\) returned some labels"),
        ({"labels": torch.tensor([0, 1, 2])}, r"torch.int64 \(3,\), expected torch.int64 \(4,\)"),
        ({"labels": torch.rand(4)}, "labels are torch.float32"),
        ({"num_classes": 2}, r"labels span \[0, 2\], expected \[0, 1\]; correct num_classes"),
        ({"labels": GOOD["labels"] - 1}, r"labels span \[-1, 1\], expected \[0, 2\]; number the classes from 0"),
    ],
)
def test_what_was_not_promised_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        check("val", **{**GOOD, **PROMISED, **change})


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_require_positive(value):
    require_positive(first=1, second=0.5, absent=None)
    with pytest.raises(ValueError, match=f"second must be positive and finite, got {value}"):
        require_positive(first=1, second=value)
