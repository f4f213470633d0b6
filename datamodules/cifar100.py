"""Small photographs of a hundred kinds of things, from torchvision."""

from __future__ import annotations

from typing import ClassVar

from datamodules.cifar10 import CIFAR10DataModule


class CIFAR100DataModule(CIFAR10DataModule):
    """CIFAR-100: 60,000 colour photographs of 32x32, split as CIFAR-10 is, 100 classes (the fine labels) of equal size.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009. Its files are in
    `cifar-100-python/` below `root`.
    """

    all_classes: int | None = 100
    dataset: ClassVar[str] = "CIFAR100"
    megabytes: ClassVar[int] = 169
