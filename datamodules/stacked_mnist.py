"""MNIST's digits in threes: the image data on which lost modes are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from datamodules.base import Split
from datamodules.checks import require_positive
from datamodules.image import Images
from datamodules.mnist import MNISTDataModule
from datamodules.seeding import keyed_generator


class StackedMNISTDataModule(MNISTDataModule):
    """Stacked MNIST: three random digits as the channels of one image (3, 28, 28), 1,000 classes 100 a + 10 b + c.

    Lin et al., "PacGAN", 2018, section 4.2, after Metz et al., "Unrolled generative adversarial networks", 2017:
    128,000 triples to train on, and 26,000 generated samples to count modes with. Training triples are of the 60,000
    training images; validation and test triples of the 10,000 test images, so that none of their digits was seen. The
    digits of a triple are independent and drawn with replacement, classes therefore as frequent as in MNIST.

    The triples are written out in uint8, 2,352 bytes each: 301 MB at 128,000, gathered in half a second.

    Args:
        train_size: number of training triples.
        val_size: number of validation triples.
        test_size: number of test triples.
        **kwargs: those of MNISTDataModule; `data_seed` draws the triples.

    Raises:
        ValueError: a number of triples that is not positive, and what MNISTDataModule raises.
    """

    shape: tuple[int, ...] = (3, 28, 28)
    all_classes: int | None = 1_000
    parts: Sequence[Split] = ("train", "val", "test")

    def __init__(
        self,
        *,
        train_size: int = 128_000,
        val_size: int = 10_000,
        test_size: int = 26_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size=val_size, **kwargs)
        require_positive(train_size=train_size, val_size=val_size, test_size=test_size)
        self._sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    def read(self, part: Split) -> Images:
        """Return triples (N, 3, 28, 28) uint8 and labels (N,) in [0, 1000)."""
        digits, labels = super().read("train" if part == "train" else "test")
        assert isinstance(digits, torch.Tensor)
        assert labels is not None
        generator = keyed_generator("stacked mnist", self.data_seed, part)
        rows = torch.randint(len(digits), (self._sizes[part], 3), generator=generator)
        return digits[:, 0][rows], labels[rows] @ torch.tensor([100, 10, 1])
