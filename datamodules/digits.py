"""Handwritten digits that need no download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from datamodules.base import Split
from datamodules.image import ImageDataModule, Images, require_size


class DigitsDataModule(ImageDataModule):
    """scikit-learn's embedded digits: 1,797 grey images of 8x8, pixels in [0, 1] in steps of 1/16, 10 classes.

    The test part of Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998. Split into
    1,197 / 300 / 300 for training, validation and test, stratified by class, the same for every seed.

    Args:
        val_size: number of validation images.
        test_size: number of test images.
        **kwargs: those of ImageDataModule.
    """

    shape: tuple[int, ...] = (1, 8, 8)
    all_classes: int | None = 10
    parts: Sequence[Split] = ("train",)

    def __init__(self, *, val_size: int | float = 300, test_size: int | float = 300, **kwargs: Any) -> None:
        super().__init__(val_size=val_size, **kwargs)
        require_size(test_size=test_size)
        self.test_size = test_size

    def read(self, part: Split) -> Images:
        """Return images (1797, 1, 8, 8) float32 in [0, 1] and labels (1797,)."""
        # scikit-learn takes a second to import, which a constructor or a restored checkpoint need not pay.
        from sklearn.datasets import load_digits

        data = load_digits()
        images = torch.as_tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
        return images, torch.as_tensor(data.target, dtype=torch.int64)
