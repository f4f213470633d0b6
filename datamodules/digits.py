"""Handwritten digits that need no download."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.base import GANDataModule, Split


class DigitsDataModule(GANDataModule):
    """scikit-learn's embedded digits: 1,797 grey images of 8x8, pixels in [0, 1] in steps of 1/16, 10 classes.

    The test part of Alpaydin and Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998. Split into
    1,197 / 300 / 300 for training, validation and test, stratified by class, the same for every seed.
    """

    shape: tuple[int, ...] = (1, 8, 8)
    num_classes: int | None = 10
    value_range: tuple[float, float] | None = (0.0, 1.0)

    def load(self, split: Split) -> tuple[Tensor, Tensor | None]:
        """Return images (N, 1, 8, 8) float32 in [0, 1] and labels (N,)."""
        # scikit-learn takes a second to import, which a constructor or a restored checkpoint need not pay.
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        data = load_digits()
        rest, test = train_test_split(range(len(data.target)), test_size=300, random_state=0, stratify=data.target)
        train, val = train_test_split(rest, test_size=300, random_state=0, stratify=data.target[rest])
        rows = {"train": train, "val": val, "test": test}[split]
        images = torch.as_tensor(data.images[rows], dtype=torch.float32).unsqueeze(1) / 16
        return images, torch.as_tensor(data.target[rows], dtype=torch.int64)
