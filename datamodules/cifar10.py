"""Small photographs, from torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import GANDataModule, Split

_TRAIN_SIZE, _CLASSES = 50_000, 10


class CIFAR10DataModule(GANDataModule):
    """CIFAR-10: 60,000 colour photographs of 32x32, pixels in [0, 1] in steps of 1/255, 10 classes of equal size.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The 10,000 official test images are the
    test split. Of the 50,000 training images `val_size`, stratified by class and the same for every `seed`, are held
    out for validation; with `val_size=0` all are trained on, as in most papers, and the test images validate as well.

    Images are kept in float32: 50,000 are 614 MB on each process, twice that with `mirror`, and 123 MB for the test
    images.

    Args:
        root: folder that holds `cifar-10-batches-py/`, or that it is downloaded into.
        download: whether to download what is missing, 170 MB, once a machine.
        val_size: number of validation images, at least one a class; 0 validates on the test images.
        mirror: whether the training split holds each image's mirror image too, after all images.
        data_seed: of the validation split; `seed` only orders the training images.
        **kwargs: those of GANDataModule.

    Raises:
        ValueError: a `val_size` that leaves training or validation without some class.
        FileNotFoundError: on loading, the files are not there or damaged, and `download` is off.
    """

    shape: tuple[int, ...] = (3, 32, 32)
    num_classes: int | None = _CLASSES
    value_range: tuple[float, float] | None = (0.0, 1.0)

    def __init__(
        self,
        *,
        root: str = "data",
        download: bool = False,
        val_size: int = 5_000,
        mirror: bool = False,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if val_size != 0 and not _CLASSES <= val_size <= _TRAIN_SIZE - _CLASSES:
            raise ValueError(
                f"val_size must be 0 (validate on the test images) or from {_CLASSES} to {_TRAIN_SIZE - _CLASSES}, "
                f"got {val_size}"
            )
        self._root, self._download = root, download
        self._val_size, self._mirror, self._data_seed = val_size, mirror, data_seed

    def prepare_data(self) -> None:
        """Download what is missing, if asked to; Lightning calls it on one process of each machine."""
        if self._download:
            self._official("test")

    def load(self, split: Split) -> tuple[Tensor, Tensor | None]:
        """Return images (N, 3, 32, 32) float32 in [0, 1] and labels (N,)."""
        held_out = split == "test" or (split == "val" and not self._val_size)
        data = self._official("test" if held_out else "train")
        images, labels = torch.as_tensor(data.data), torch.as_tensor(data.targets, dtype=torch.int64)
        if not held_out and self._val_size:
            rows = self._rows(split, labels)
            images, labels = images[rows], labels[rows]
        if split == "train" and self._mirror:
            images, labels = torch.cat([images, images.flip(2)]), labels.repeat(2)  # rows, height, width, channels
        x = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return x.div_(255), labels

    def _rows(self, split: Split, labels: Tensor) -> Tensor:
        """Those of the official training images that are the split's."""
        from sklearn.model_selection import train_test_split

        train, val = train_test_split(
            range(len(labels)), test_size=self._val_size, random_state=self._data_seed, stratify=labels.numpy()
        )
        return torch.as_tensor(train if split == "train" else val)

    def _official(self, part: str) -> Any:
        """The data set as torchvision reads it, `data` (N, 32, 32, 3) uint8 and `targets`."""
        # torchvision takes a second to import, which a constructor or a restored checkpoint need not pay.
        from torchvision.datasets import CIFAR10

        try:
            return CIFAR10(self._root, train=part == "train", download=self._download)
        except RuntimeError as error:
            if self._download:
                raise
            raise FileNotFoundError(
                f"CIFAR-10 is not, or not whole, in {Path(self._root).resolve()}: unpack the python version, "
                "cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html, so that there is a folder "
                "cifar-10-batches-py in it, name another folder by root (--data.root), or let it be downloaded, "
                "170 MB, with download=True (--data.download true)"
            ) from error
