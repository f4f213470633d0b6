"""Pictures of clothes in MNIST's format, from torchvision."""

from __future__ import annotations

from typing import ClassVar

from datamodules.mnist import MNISTDataModule


class FashionMNISTDataModule(MNISTDataModule):
    """Fashion-MNIST: 70,000 grey images of 28x28 of clothes, split as MNIST is, 10 classes of equal size.

    Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms", 2017.
    Its files are in `FashionMNIST/raw/` below `root`.
    """

    dataset: ClassVar[str] = "FashionMNIST"
    megabytes: ClassVar[int] = 31
