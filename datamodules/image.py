"""What image data sets share: splits, a choice of classes, flips and crops."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augmentation import DataAugmentation, HorizontalFlip, RandomCrop
from datamodules.base import GANDataModule, Split
from datamodules.checks import Promise
from datamodules.source import Batch

Images = tuple[Tensor | Dataset[Tensor], Tensor | None]  # (N, C, H, W) or N times (C, H, W); labels (N,) int64


class ImageDataModule(GANDataModule):
    """Images (C, H, W) in [0, 1], kept in uint8 as x / 255, with labels or without.

    A data set is a `shape`, `all_classes`, and a `read` that returns the images of each part it comes in. A split that
    is no part of its own is drawn from the training images: the test split first, then the validation split, each
    stratified by class and the same for every `seed`. Of a split of size 0 the other held-out split takes the place,
    so `val_size=0` validates on the test images.

    Args:
        val_size: validation images drawn from the training images, a number, or a share between 0 and 1; of all
            classes together, of which those chosen by `classes` have their part. Unused where they come apart.
        classes: labels of the classes to keep, which become 0, 1, ... in this order; all where None. An image stays in
            its split whatever is chosen.
        flip: whether half of the training images, drawn anew each time, are mirrored left to right.
        crop: training images are moved by up to this many pixels each way, drawn anew each time; 0 leaves them.
        data_seed: of the splits; `seed` only orders the training images.
        **kwargs: those of GANDataModule.

    Raises:
        ValueError: a size below 0 or a share of 1 or more; classes that are empty, repeated, or (on loading) not there;
            on loading, a split that can't hold every class, or nothing to evaluate on.
    """

    value_range: tuple[float, float] | None = (0.0, 1.0)
    #: the splits that the data set comes in
    parts: Sequence[Split] = ("train", "test")
    test_size: float = 0

    def __init__(
        self,
        *,
        val_size: int | float = 0,
        classes: Sequence[int] | None = None,
        flip: bool = False,
        crop: int = 0,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_size(val_size=val_size)
        if classes is not None and (len(classes) == 0 or len(set(classes)) < len(classes)):
            raise ValueError(f"classes must name at least one class, and none twice, got {list(classes)}")
        self.val_size, self.classes, self.data_seed = val_size, classes, data_seed
        augmentations: list[DataAugmentation] = [HorizontalFlip()] if flip else []
        self.augmentations = [*augmentations, RandomCrop(crop)] if crop else augmentations

    @property
    @abstractmethod
    def all_classes(self) -> int | None:
        """Number of classes of the whole data set, or None for one without labels."""

    @abstractmethod
    def read(self, part: Split) -> Images:
        """Return a part's images, (N, C, H, W) or a map-style Dataset of (C, H, W), and labels, (N,) int64, or None."""

    @property
    def num_classes(self) -> int | None:
        """Number of classes that are kept, or None for a data set without labels."""
        return self.all_classes if self.all_classes is None or self.classes is None else len(self.classes)

    def load(self, split: Split) -> Batch | Dataset[Any]:
        """Return images (N, C, H, W) and labels (N,), or a Dataset of what does not fit."""
        split = self._in_place_of(split)
        part: Split = split if split in self.parts else "train"
        images, labels = self.read(part)
        if labels is not None:
            # before labels are counted, chosen or renumbered
            Promise(self.shape, self.all_classes, None).check_labels(f"{part} labels", labels, _length(images))
        rows = self._drawn(labels, _length(images))[split] if part == "train" else torch.arange(_length(images))
        return self.gather(images, *self._chosen(rows, labels))

    def gather(self, images: Tensor | Dataset[Tensor], rows: Tensor, labels: Tensor | None) -> Batch | Dataset[Any]:
        """Return the rows (n,) of a part's images; their labels (n,) are given."""
        if not isinstance(images, Tensor):
            raise TypeError(f"read() returned a {type(images).__name__}; a data set of tensors wants a tensor")
        # only all rows in their order are as many as all
        return (images if len(rows) == len(images) else images[rows]), labels

    def _in_place_of(self, split: Split) -> Split:
        if split == "train" or self._exists(split):
            return split
        other: Split = "test" if split == "val" else "val"
        if not self._exists(other):
            raise ValueError("val_size and test_size are both 0: there is nothing to evaluate on; hold some images out")
        return other

    def _exists(self, split: Split) -> bool:
        return split in self.parts or self._size(split) > 0

    def _size(self, split: Split) -> float:
        return self.val_size if split == "val" else self.test_size

    def _drawn(self, labels: Tensor | None, size: int) -> dict[Split, Tensor]:
        """Rows of each split among the training images."""
        rows, splits = torch.arange(size).numpy(), {}
        held_out: tuple[Split, ...] = ("test", "val")
        for split in held_out:
            share = self._size(split)
            if split in self.parts or not share:
                continue
            # scikit-learn takes a second to import, which a data set with splits of its own need not pay
            from sklearn.model_selection import train_test_split

            strata = None if labels is None else labels[rows].numpy()
            count = share if isinstance(share, int) else round(share * size)
            try:
                rows, drawn = train_test_split(rows, test_size=count, random_state=self.data_seed, stratify=strata)
            except ValueError as error:
                raise ValueError(
                    f"{split}_size {share} of {size} training images can't be drawn so that "
                    f"{'both sides have one' if labels is None else 'every class is on both sides'}: {error}"
                ) from error
            splits[split] = torch.as_tensor(drawn)
        return {"train": torch.as_tensor(rows), **splits}

    def _chosen(self, rows: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Those of the rows whose class is kept, with their new labels."""
        if self.classes is None:
            return rows, None if labels is None else labels[rows]
        if labels is None or self.all_classes is None:
            raise ValueError(f"classes {list(self.classes)} can't be chosen: the images have no labels")
        if not all(0 <= label < self.all_classes for label in self.classes):
            raise ValueError(f"classes must lie in [0, {self.all_classes - 1}], got {list(self.classes)}")
        new = torch.full((self.all_classes,), -1)
        new[list(self.classes)] = torch.arange(len(self.classes))
        chosen = new[labels[rows]]
        return rows[chosen >= 0], chosen[chosen >= 0]


def require_size(**sizes: float) -> None:
    """Raise ValueError unless every size is a number of images, or a share of them that leaves some."""
    for name, size in sizes.items():
        if not (size >= 0 if isinstance(size, int) else 0 <= size < 1):
            raise ValueError(f"{name} must be a number of images, 0 or more, or a share from 0 to below 1, got {size}")


def _length(images: Tensor | Dataset[Tensor]) -> int:
    return len(images)  # type: ignore[arg-type]  # a map-style data set has a length
