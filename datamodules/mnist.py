"""Handwritten digits of the size that papers use, from torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from datamodules.archive import ArchiveDataModule


class MNISTDataModule(ArchiveDataModule):
    """MNIST: 70,000 grey images of 28x28 of handwritten digits, 60,000 to train on and 10,000 to test, 10 classes.

    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998. In uint8 the
    training images are 47 MB. Its four files, unpacked, are in `MNIST/raw/` below `root`.
    """

    shape: tuple[int, ...] = (1, 28, 28)
    all_classes: int | None = 10
    dataset: ClassVar[str] = "MNIST"
    megabytes: ClassVar[int] = 12

    def files(self, dataset: Any) -> dict[Path, bool]:
        """The two files of images and two of labels."""
        return {path: _is_whole(path) for path in (self._folder / name for name in self._names(dataset))}

    def instructions(self, dataset: Any) -> str:
        """Four files, each compressed by itself."""
        archives = ", ".join(f"{name}.gz" for name in self._names(dataset))
        return f"Unpack {archives} from {dataset.mirrors[0]} into {self._folder.resolve()}"

    @property
    def _folder(self) -> Path:
        return Path(self.root) / self.dataset / "raw"

    @staticmethod
    def _names(dataset: Any) -> list[str]:
        return [archive.removesuffix(".gz") for archive, _ in dataset.resources]


def _is_whole(path: Path) -> bool:
    from torchvision.datasets.mnist import read_image_file, read_label_file

    try:
        (read_image_file if "idx3" in path.name else read_label_file)(str(path))
    except Exception:  # whatever the parser meets in a file that is not of the format
        return False
    return True
