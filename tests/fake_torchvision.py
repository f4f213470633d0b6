"""Stand-ins for torchvision's archives: nothing is read or downloaded, and smaller images are a few times as fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import datamodules

#: name in torchvision, number of classes, channels; arrays as torchvision has them
ARCHIVES = [("MNIST", 10, 1), ("FashionMNIST", 10, 1), ("KMNIST", 10, 1), ("CIFAR10", 10, 3), ("CIFAR100", 100, 3)]


def fake_torchvision(patch: pytest.MonkeyPatch, train: int = 300, test: int = 60, side: int | None = 8) -> None:
    """Every archive holds random images of this side, or of its own if None: ``train`` and ``test`` of them."""
    for name, classes, channels in ARCHIVES:
        module = getattr(datamodules, f"{name}DataModule")
        height = module.shape[1] if side is None else side
        patch.setattr(module, "shape", (channels, height, height))
        patch.setattr(torchvision.datasets, name, _fake(classes, channels, height, {True: train, False: test}))
    patch.setattr(datamodules.StackedMNISTDataModule, "shape", (3, *datamodules.MNISTDataModule.shape[1:]))


def _fake(classes: int, channels: int, side: int, sizes: dict[bool, int]) -> type:
    made: dict[bool, Any] = {}
    for train, size in sizes.items():
        images = np.random.default_rng(train).integers(0, 256, (size, side, side, channels), np.uint8)
        made[train] = torch.from_numpy(images[..., 0]) if channels == 1 else images

    class Fake:
        def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
            self.data, self.targets = made[train], [i % classes for i in range(sizes[train])]

    return Fake
