"""Small photographs, from torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from datamodules.archive import ArchiveDataModule


class CIFAR10DataModule(ArchiveDataModule):
    """CIFAR-10: 60,000 colour photographs of 32x32, 50,000 to train on and 10,000 to test, 10 classes of equal size.

    Krizhevsky, "Learning multiple layers of features from tiny images", 2009. In uint8 the training images are 154 MB.
    Its files are in `cifar-10-batches-py/` below `root`.
    """

    shape: tuple[int, ...] = (3, 32, 32)
    all_classes: int | None = 10
    dataset: ClassVar[str] = "CIFAR10"
    megabytes: ClassVar[int] = 170

    def files(self, dataset: Any) -> dict[Path, bool]:
        """Batches of training and test images, and the names of classes, with the checksums that torchvision knows."""
        from torchvision.datasets.utils import check_integrity

        folder = Path(self.root) / dataset.base_folder
        known = [*dataset.train_list, *dataset.test_list, (dataset.meta["filename"], dataset.meta["md5"])]
        return {folder / name: bool(check_integrity(str(folder / name), checksum)) for name, checksum in known}

    def instructions(self, dataset: Any) -> str:
        """One archive with one folder in it."""
        return (
            f"Unpack {dataset.filename} from {dataset.url}, the python version, so that there is a folder "
            f"{dataset.base_folder} in {Path(self.root).resolve()}"
        )
