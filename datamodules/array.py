"""Images in arrays: a .npz or .npy file, or what a script has in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from datamodules.base import Split
from datamodules.checks import Promise
from datamodules.image import ImageDataModule, Images, require_size

_CHANNELS = (1, 2, 3, 4)
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class ArrayDataModule(ImageDataModule):
    """Images of an array (N, H, W), (N, C, H, W) or (N, H, W, C), in uint8 or in floating point in [0, 1].

        ArrayDataModule("faces.npz", batch_size=64)
        ArrayDataModule(arrays={"images": images, "labels": labels}, batch_size=64)

    Arrays are found by name: `images` and `labels`, of which splits are drawn, or `train_images`, `train_labels`,
    `val_images`, ..., `test_labels`; labels may be missing. Files are read without pickle.

    Args:
        path: of a .npz file, or a .npy file of images alone.
        arrays: NumPy arrays or tensors by name, instead of a file; no checkpoint holds them.
        keys: names of the images and labels of each split where they are others, such as
            {"train": ["x_train", "y_train"], "test": ["x_test", "y_test"]}; of images alone, {"train": "x_train"}.
        layout: "CHW" or "HWC"; found out where None: channels, of which images have 1 to 4, come first or last.
        num_classes: labels are 0 to num_classes - 1, and must be there; one above the greatest training label where
            None, if there are any.
        val_size: validation images, a number or a share, drawn from the training images where there are none.
        test_size: likewise; where it is 0 and there are none, the validation images are the test images.
        **kwargs: those of ImageDataModule.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: neither path nor arrays, or both; on loading, a file that can't be read, names that are not there,
            arrays that are no images, a layout that is not clear, NaN or values outside [0, 1], labels out of range.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        arrays: Mapping[str, Any] | None = None,
        keys: Mapping[str, Sequence[str]] | None = None,
        layout: Literal["CHW", "HWC"] | None = None,
        num_classes: int | None = None,
        val_size: int | float = 0.1,
        test_size: int | float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(val_size=val_size, **kwargs)
        require_size(test_size=test_size)
        if (path is None) == (arrays is None):
            raise ValueError("pass either the path of a .npz or .npy file, or arrays by name")
        if arrays is not None and not isinstance(arrays, Mapping):
            raise ValueError(f'arrays must be given by name, {{"images": ...}}, got {type(arrays).__name__}')
        if keys is not None and not ("train" in keys and set(keys) <= set(_SPLITS)):
            raise ValueError(f"keys must name arrays of train, and of val and test where there are, got {dict(keys)}")
        if layout not in (None, "CHW", "HWC"):
            raise ValueError(f"layout must be 'CHW' or 'HWC', got {layout!r}")
        self.path, self._given, self._keys, self.layout = path, arrays, keys, layout
        self._num_classes, self.test_size = num_classes, test_size

    @cached_property
    def parts(self) -> Sequence[Split]:  # type: ignore[override]  # known by looking
        """The splits that have arrays of their own."""
        return tuple(part for part in _SPLITS if self._keys_of(part) is not None)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the training images, for which they are looked at."""
        return tuple(self._images("train").shape[1:])

    @cached_property
    def all_classes(self) -> int | None:
        """As given, or one above the greatest training label; None without labels."""
        labels = self._labels("train")
        if self._num_classes is None:
            return None if labels is None else self._counted(labels)
        if labels is None:
            raise ValueError(
                f"num_classes is {self._num_classes}, but {self._where} with {self._present} has no labels of the "
                'training images; name them by keys, {"train": [images, labels]}, or leave num_classes out'
            )
        return self._num_classes

    def read(self, part: Split) -> Images:
        """Return images (N, C, H, W), uint8 or float32, and labels (N,)."""
        images, labels = self._images(part), self._labels(part)
        if images.is_floating_point():
            images = images.to(torch.float32)
        # here, where rows are still those of the array
        Promise(self.shape, self.all_classes, self.value_range).check(part, images, labels)
        return images.contiguous(), labels

    def _counted(self, labels: Tensor) -> int:
        """One above the greatest label, where all below it occur or `classes` chooses."""
        count = int(labels.max()) + 1 if len(labels) else 1
        absent = sorted(set(range(count)) - set(labels.tolist()))
        if absent and self.classes is None and len(labels):
            raise ValueError(
                f"training labels in {self._where} go up to {count - 1}, but none is {absent[:10]}: pass num_classes="
                f"{count} (--data.num_classes) if these classes may be empty, choose those that occur by classes "
                "(--data.classes), or count from 0"
            )
        return count

    def _images(self, part: Split) -> Tensor:
        """(N, C, H, W), in whatever type and order of memory they are."""
        keys = self._keys_of(part)
        assert keys is not None
        images = self._array(keys[0])
        if images.ndim == 3:
            return images[:, None]
        if images.ndim != 4:
            raise ValueError(
                f"{keys[0]} in {self._where} has shape {tuple(images.shape)}, images are (N, H, W), (N, C, H, W) or "
                "(N, H, W, C); for other samples write a GANDataModule with a load()"
            )
        layout = self.layout or _layout(images, f"{keys[0]} in {self._where}")
        return images if layout == "CHW" else images.movedim(-1, 1)

    def _labels(self, part: Split) -> Tensor | None:
        keys = self._keys_of(part)
        if keys is None or keys[1] is None:
            return None
        labels = self._array(keys[1])
        if labels.dtype.is_floating_point or labels.dtype == torch.bool or labels.ndim not in (1, 2):
            raise ValueError(
                f"{keys[1]} in {self._where} is {labels.dtype} {tuple(labels.shape)}; labels are whole numbers (N,)"
            )
        # a column (N, 1), as some files have them, is a list; anything wider is refused by its shape
        return (labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels).to(torch.int64)

    def _keys_of(self, part: Split) -> tuple[str, str | None] | None:
        """Names of the images and the labels of a split, or None where it has no arrays."""
        if self._keys is not None:
            if part not in self._keys:
                return None
            given = self._keys[part]
            names = [given] if isinstance(given, str) else list(given)
            if len(names) not in (1, 2):
                raise ValueError(f"keys of {part} must name its images and, where there are any, labels, got {names}")
            if absent := [name for name in names if name not in self._present]:
                raise ValueError(f"{self._where} holds {self._present}, not {absent}, the keys of {part}")
            return names[0], names[1] if len(names) == 2 else None
        prefix = "" if part == "train" and "images" in self._present else f"{part}_"
        if f"{prefix}images" in self._present:
            return f"{prefix}images", f"{prefix}labels" if f"{prefix}labels" in self._present else None
        if part == "train":
            raise ValueError(
                f"{self._where} holds {self._present}, neither 'images' nor 'train_images'; say which are which by "
                'keys, such as {"train": ["x_train", "y_train"]}'
            )
        return None

    @property
    def _where(self) -> str:
        return "arrays" if self.path is None else self.path

    @cached_property
    def _present(self) -> list[str]:
        """Names of the arrays."""
        if self._given is not None:
            return sorted(self._given)
        loaded = self._opened()
        return ["images"] if not hasattr(loaded, "files") else sorted(loaded.files)

    def _array(self, name: str) -> Tensor:
        import numpy as np

        if self._given is not None:
            found = self._given[name]
        else:
            loaded = self._opened()
            try:
                found = loaded[name] if hasattr(loaded, "files") else loaded
            except Exception as error:  # zip files and headers that are cut off fail in many ways
                raise ValueError(f"{name} in {self.path} can't be read ({type(error).__name__}: {error})") from error
        if isinstance(found, np.ndarray) and not (found.dtype.isnative and min(found.strides, default=0) >= 0):
            # torch takes neither the other order of bytes nor an array that is read backwards
            found = np.ascontiguousarray(found, found.dtype.newbyteorder("="))
        try:
            return torch.as_tensor(found)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} in {self._where} is no array of numbers: {error}") from error

    def _opened(self) -> Any:
        """The file as NumPy opens it: an array, or a mapping of those in it, which are read when asked for."""
        import numpy as np

        path = Path(str(self.path))
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no file {path.resolve()}; name a .npz or .npy file by path (--data.path)"
            )
        try:
            return np.load(path, allow_pickle=False)
        except Exception as error:
            raise ValueError(f"{path} is not a readable .npz or .npy file ({type(error).__name__}: {error})") from error


def _layout(images: Tensor, what: str) -> str:
    """CHW or HWC, where only one of the two has a plausible number of channels."""
    first, last = images.shape[1] in _CHANNELS, images.shape[3] in _CHANNELS
    if first == last:
        why = "both its second and its last size" if first else "neither its second nor its last size"
        raise ValueError(
            f"{what} has shape {tuple(images.shape)}: {why} could be channels (1 to 4); say which by layout='CHW' or "
            "layout='HWC' (--data.layout HWC)"
        )
    return "CHW" if first else "HWC"
