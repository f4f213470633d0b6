"""A stand-in for torchvision's CIFAR10: nothing is read or downloaded, and smaller images are a few times as fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torchvision

from datamodules import CIFAR10DataModule


def fake_cifar10(patch: pytest.MonkeyPatch, train: int = 300, test: int = 60, side: int = 8) -> None:
    """CIFAR10DataModule finds random images (3, side, side) of ten classes: ``train`` and ``test`` of them."""

    class CIFAR10:
        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            images, labels = made[train]
            self.data, self.targets = images.copy(), list(labels)

    def make(key: int, size: int) -> tuple[Any, list[int]]:
        images = np.random.default_rng(key).integers(0, 256, (size, side, side, 3), np.uint8)
        return images, [i % 10 for i in range(size)]

    made = {True: make(0, train), False: make(1, test)}
    patch.setattr(torchvision.datasets, "CIFAR10", CIFAR10)
    patch.setattr(CIFAR10DataModule, "shape", (3, side, side))
