"""Any image data set of torchvision's form, by its class path."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import Split
from datamodules.decoded import CorruptImageError, DecodedDataModule, Pictures, fitted
from datamodules.image import Images, require_size


class TorchvisionDataModule(DecodedDataModule):
    """A map-style data set of PIL images, or of (PIL image, label), as those of `torchvision.datasets` are.

        TorchvisionDataModule(
            "torchvision.datasets.SVHN", size=32, num_classes=10, batch_size=64,
            train={"root": "data", "split": "train"}, test={"root": "data", "split": "test"},
        )

    What is drawn from the training images, for want of arguments, is drawn by their labels. These are the data set's
    attribute `targets`, `labels` or `_labels` where it has one and no `target_transform` makes others of them, else
    they are read with the images, in one pass more.

    Args:
        dataset: class path, such as torchvision.datasets.SVHN; a class of your own by its own path.
        size: of the images, a side or [height, width], see DecodedDataModule.
        train: arguments of the class for the training images; `download: true` there downloads, once a machine.
        val: for the validation images; where None, `val_size` of the training images are drawn.
        test: for the test images, likewise.
        num_classes: labels are 0 to num_classes - 1; None takes the images without labels.
        val_size: validation images, a number or a share, drawn from the training images where `val` is None.
        test_size: likewise; where it is 0 and `test` is None, the validation images are the test images.
        **kwargs: those of DecodedDataModule.

    Raises:
        ValueError: no class path of a Dataset; items or labels of another form; what DecodedDataModule refuses.
        FileNotFoundError: on loading, files are missing and are not to be downloaded.
    """

    threads = False  # a data set may move in a file that it shares, or use the global generator

    def __init__(
        self,
        dataset: str,
        *,
        size: int | Sequence[int],
        train: Mapping[str, Any],
        val: Mapping[str, Any] | None = None,
        test: Mapping[str, Any] | None = None,
        num_classes: int | None = None,
        val_size: int | float = 0.1,
        test_size: int | float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, val_size=val_size, **kwargs)
        require_size(test_size=test_size)
        self.dataset, self.test_size, self._labels = dataset, test_size, num_classes
        arguments: dict[Split, Mapping[str, Any] | None] = {"train": train, "val": val, "test": test}
        self._arguments = {part: given for part, given in arguments.items() if given is not None}
        self.parts = tuple(self._arguments)

    @property
    def all_classes(self) -> int | None:
        """As given."""
        return self._labels

    def prepare_data(self) -> None:
        """Download what is asked for; Lightning calls it on one process of each machine."""
        for part, arguments in self._arguments.items():
            if arguments.get("download"):
                self._open(part)

    def read(self, part: Split) -> Images:
        """Return the images, undecoded, and their labels."""
        data = self._open(part)
        pictures = _Items(data, self.size, self.channels, self.dataset)
        return pictures, None if self.all_classes is None else self._labels_of(data)

    def _open(self, part: Split) -> Any:
        arguments = self._arguments[part]
        try:
            return _class(self.dataset)(**arguments)
        except (RuntimeError, FileNotFoundError) as error:
            if arguments.get("download"):
                raise
            root = Path(str(arguments.get("root", "."))).resolve()
            raise FileNotFoundError(
                f"{self.dataset} is not, or not whole, in {root} ({error}): name another folder by root in its "
                f"arguments (--data.{part}.root), or let it be downloaded, if it can be, by download=True there "
                f"(--data.{part}.download true); its documentation says which files it reads"
            ) from error
        except TypeError as error:
            raise ValueError(
                f"{self.dataset} does not take the arguments {dict(arguments)} of {part}: {error}"
            ) from error

    def _labels_of(self, data: Any) -> Tensor:
        stored = () if getattr(data, "target_transform", None) else ("targets", "labels", "_labels")
        for name in stored:
            found = getattr(data, name, None)
            if found is not None and len(found) == len(data):
                return torch.as_tensor(found).to(torch.int64)
        labels = torch.zeros(len(data), dtype=torch.int64)

        def look(row: int) -> None:
            item = data[row]
            if not isinstance(item, tuple) or not isinstance(item[1], (int, Tensor)):
                raise ValueError(f"{self.dataset}: item {row} has no label that is a number; pass num_classes=None")
            labels[row] = int(item[1])

        self._for_each(look, len(data), "reading labels")
        return labels


class _Items(Pictures):
    """The images of a data set's items."""

    def __init__(self, data: Any, size: tuple[int, int] | None, channels: int, dataset: str) -> None:
        self.data, self.size, self.channels, self.dataset = data, size, channels, dataset

    def __len__(self) -> int:
        return len(self.data)

    def name(self, row: int) -> str:
        """Data set and row."""
        return f"{self.dataset}: item {row}"

    def __getitem__(self, row: int) -> Tensor:
        from PIL import Image

        try:
            item = self.data[row]
        except (OSError, SyntaxError) as error:  # what PIL raises of broken files
            raise CorruptImageError(f"{self.name(row)} can't be read ({error})") from error
        image = item[0] if isinstance(item, tuple) else item
        if not isinstance(image, Image.Image):
            raise ValueError(f"{self.name(row)} is {type(image)}, not a PIL image; leave out its transform")
        return fitted(image, self.size, self.channels)


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(
            f"there is no data set {path!r} ({error}); give a class path, torchvision.datasets.SVHN"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Dataset)):
        raise ValueError(f"{path} is not a class of map-style data sets, torch.utils.data.Dataset")
    return found
