"""Published image data sets that torchvision downloads, and reads into memory as a whole."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import torch

from datamodules.base import Split
from datamodules.image import ImageDataModule, Images


class ArchiveDataModule(ImageDataModule):
    """A data set of `torchvision.datasets` with official training and test images of one size, held in uint8.

    Nothing is downloaded unless asked for. Archives that are in place already are only unpacked by `download`, without
    a network.

    Args:
        root: folder that holds the files, or that they are downloaded into.
        download: whether to download what is missing, once a machine.
        val_size: validation images drawn from the training images; 0 trains on all, as most papers do, and validates on
            the test images.
        **kwargs: those of ImageDataModule.

    Raises:
        FileNotFoundError: on loading, files are missing and `download` is off.
        ValueError: on loading, files are damaged; what ImageDataModule refuses.
    """

    dataset: ClassVar[str]  # its class in torchvision.datasets
    megabytes: ClassVar[int]  # of its download

    def __init__(
        self, *, root: str = "data", download: bool = False, val_size: int | float = 5_000, **kwargs: Any
    ) -> None:
        super().__init__(val_size=val_size, **kwargs)
        self.root, self.download = root, download

    @abstractmethod
    def files(self, dataset: Any) -> dict[Path, bool]:
        """Every file that torchvision's class reads, and whether it is there and whole."""

    @abstractmethod
    def instructions(self, dataset: Any) -> str:
        """What to fetch from where, and where to put it."""

    def prepare_data(self) -> None:
        """Download what is missing, if asked to; Lightning calls it on one process of each machine."""
        if self.download:
            self._open("test")

    def read(self, part: Split) -> Images:
        """Return images (N, C, H, W) uint8 and labels (N,)."""
        data = self._open(part)
        images, labels = torch.as_tensor(data.data), torch.as_tensor(data.targets, dtype=torch.int64)
        images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)
        return images.contiguous(), labels

    def _open(self, part: Split) -> Any:
        """The data set as torchvision reads it: `data`, (N, H, W) or (N, H, W, C) uint8, and `targets`."""
        # torchvision takes a second to import, which a constructor or a restored checkpoint need not pay.
        import torchvision

        dataset = getattr(torchvision.datasets, self.dataset)
        try:
            return dataset(self.root, train=part == "train", download=self.download)
        except Exception as error:  # of a damaged file torchvision raises whatever its parser meets
            files = self.files(dataset)
            missing = [path for path in files if not path.exists()]
            damaged = [path for path, whole in files.items() if path.exists() and not whole]
            if missing and not self.download:
                raise FileNotFoundError(
                    f"{self.dataset} is not, or not whole, in {Path(self.root).resolve()}, missing: {_names(missing)}. "
                    f"{self.instructions(dataset)}, name another folder by root (--data.root), or let it be "
                    f"downloaded, {self.megabytes} MB, with download=True (--data.download true)"
                ) from error
            if damaged and not missing:
                raise ValueError(
                    f"{self.dataset} in {Path(self.root).resolve()} is damaged, can't be read: {_names(damaged)} "
                    f"({type(error).__name__}: {error}). Delete that and fetch it again, {self.megabytes} MB: "
                    f"{self.instructions(dataset)}, or pass download=True (--data.download true)"
                ) from error
            raise


def _names(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
