"""How the contract tests build every data module that the package exports: by itself, or with what it needs."""

from __future__ import annotations

import atexit
import functools
import inspect
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import datamodules
from datamodules import RingDataModule
from datamodules.truth import GaussianMixture
from datamodules.whitening import ZCAWhitening

DATAMODULES = [
    cls
    for cls in (getattr(datamodules, name) for name in datamodules.__all__)
    if inspect.isclass(cls) and not inspect.isabstract(cls)
]
#: arguments without which a data module can't be built, by its name
NEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "SyntheticDataModule": lambda: {"truth": GaussianMixture(torch.eye(3), 0.05)},
    "ArrayDataModule": lambda: {"path": str(image_files() / "images.npz"), "layout": "HWC", "val_size": 20},
    "ImageFolderDataModule": lambda: {"root": str(image_files() / "folder"), "size": 4, "val_size": 20},
    "TorchvisionDataModule": lambda: {
        "dataset": "torchvision.datasets.ImageFolder",
        "train": {"root": str(image_files() / "folder")},
        **{"size": [4, 3], "num_classes": 3, "val_size": 20},
    },
    # what fake_torchvision has of them
    **dict.fromkeys(
        ("MNISTDataModule", "FashionMNISTDataModule", "KMNISTDataModule", "CIFAR10DataModule"),
        lambda: {"val_size": 60},
    ),
    "CIFAR100DataModule": lambda: {"val_size": 100},
    "StackedMNISTDataModule": lambda: {"train_size": 300, "val_size": 50, "test_size": 60},
}
#: arguments that make it small
SMALL = {"train_size": 2_000}


@functools.cache
def image_files() -> Path:
    """Files of random images (3, 4, 4) of three classes, 100 of them, which go with the process: an array, a folder."""
    root = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, root)
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 3), np.uint8)
    labels = np.arange(100) % 3
    np.savez(root / "images.npz", images=images, labels=labels)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / "folder" / f"class{label}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


def make(cls: type, **kwargs: Any) -> Any:
    small = SMALL if issubclass(cls, datamodules.SyntheticDataModule) else {}
    return cls(**small | NEEDS.get(cls.__name__, dict)() | kwargs)


def whitened_on_ranks(rank: int, world: int) -> tuple[dict[str, Tensor], int]:
    """The whitening of one process of several, and how many training samples it saw."""
    module = RingDataModule(batch_size=2, std=0.1, train_size=1_001, whitening=ZCAWhitening())
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world)
    fit, seen = module.whitening.fit, []

    def counted(stream: Iterable[Tensor]) -> Iterator[Tensor]:
        for batch in stream:
            seen.append(len(batch))
            yield batch

    module.whitening.fit = lambda stream, **kwargs: fit(counted(stream), **kwargs)
    module.setup("fit")
    return dict(module.whitening.state_dict()), sum(seen)
