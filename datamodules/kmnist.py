"""Handwritten Japanese characters in MNIST's format, from torchvision."""

from __future__ import annotations

from typing import ClassVar

from datamodules.mnist import MNISTDataModule


class KMNISTDataModule(MNISTDataModule):
    """Kuzushiji-MNIST: 70,000 grey images of 28x28 of cursive hiragana, split as MNIST is, 10 classes of equal size.

    Clanuwat et al., "Deep learning for classical Japanese literature", 2018. Its files are in `KMNIST/raw/` below
    `root`.
    """

    dataset: ClassVar[str] = "KMNIST"
    megabytes: ClassVar[int] = 21
