"""Any folder of images."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from datamodules.base import Split
from datamodules.decoded import CorruptImageError, DecodedDataModule, Pictures, fitted
from datamodules.image import Images, require_size

#: endings of images that torchvision does not list
_OTHERS = (".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jxl")


class ImageFolderDataModule(DecodedDataModule):
    """The images in a folder: its subfolders are the classes, in alphabetical order, or it is flat and has no labels.

    With a subfolder `train`, that holds the training images, and `val` and `test`, where they are there, their splits;
    what is not there is drawn from the training images. Files are those whose names end in one of torchvision's
    `IMG_EXTENSIONS` (.jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp), in alphabetical order, in classes at any
    depth; names that begin with a dot are left out, and other images (.gif, .heic, .jfif, ...) with a
    warning that counts them. Photographs are turned upright as their EXIF says.

    Args:
        root: the folder.
        size: of the images, a side or [height, width], see DecodedDataModule; with None it is that of the first image.
        labels: False takes subfolders for mere order, and images at any depth, without labels.
        val_size: validation images, a number or a share, drawn from the training images where there is no `val`.
        test_size: likewise; where it is 0 and there is no `test`, the validation images are the test images.
        **kwargs: those of DecodedDataModule.

    Raises:
        FileNotFoundError: on loading, there is no such folder, or no image in it or in one of its classes.
        ValueError: on loading, images beside classes, or a class that the training images lack; what DecodedDataModule
            refuses.
    """

    def __init__(
        self,
        root: str,
        *,
        size: int | Sequence[int] | None,
        labels: bool = True,
        val_size: int | float = 0.1,
        test_size: int | float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(size=size, val_size=val_size, **kwargs)
        require_size(test_size=test_size)
        self.root, self.labels, self.test_size = root, labels, test_size
        self._listings: dict[Split, tuple[list[Path], list[str] | None]] = {}

    @cached_property
    def parts(self) -> Sequence[Split]:  # type: ignore[override]  # known by looking
        """The splits that have a subfolder, or "train" for the whole folder."""
        names: tuple[Split, ...] = ("train", "val", "test")
        return tuple(name for name in names if self._divided and (Path(self.root) / name).is_dir()) or ("train",)

    @cached_property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of their labels, from the training images; None for a flat folder."""
        names = self._listed("train")[1]
        return None if names is None else sorted(set(names))

    @property
    def all_classes(self) -> int | None:
        """Number of class folders."""
        return None if self.class_names is None else len(self.class_names)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width); without a `size`, of the first image that can be decoded."""
        if self.size is not None:
            return (self.channels, *self.size)
        pictures = _Files(self._listed("train")[0], None, self.channels)
        for row in range(len(pictures)):
            try:
                return tuple(pictures[row].shape)
            except CorruptImageError:
                if self.on_corrupt == "error":
                    raise
        raise CorruptImageError(f"none of the {len(pictures)} images in {Path(self.root).resolve()} can be decoded")

    def read(self, part: Split) -> Images:
        """Return the images, undecoded, and the labels of their folders."""
        files, names = self._listed(part)
        pictures, known = _Files(files, self.size, self.channels), self.class_names
        if (names is None) != (known is None):
            raise ValueError(f"of the folders train and {part} in {self.root} one has classes and the other none")
        if names is None or known is None:
            return pictures, None
        if extra := sorted(set(names) - set(known)):
            raise ValueError(f"{part} has classes that train lacks: {extra}; the classes are {known}")
        label = {name: index for index, name in enumerate(known)}
        return pictures, torch.tensor([label[name] for name in names])

    @property
    def _divided(self) -> bool:
        return (Path(self.root) / "train").is_dir()

    def _listed(self, part: Split) -> tuple[list[Path], list[str] | None]:
        """Files of a part, and the class of each; looked for once."""
        if part not in self._listings:
            self._listings[part] = self._look(part)
        return self._listings[part]

    def _look(self, part: Split) -> tuple[list[Path], list[str] | None]:
        folder = Path(self.root) / part if self._divided else Path(self.root)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"there is no folder {folder.resolve()}: name one by root (--data.root) that holds images, or a "
                "subfolder of images for each class, or subfolders train, val and test of either"
            )
        left_out: Counter[str] = Counter()
        classes = self._classes_of(folder) if self.labels else []
        found = [(path, name.name) for name in classes for path in _images(name, left_out)]
        files = [path for path, _ in found] if classes else _images(folder, left_out)
        if left_out:
            counts = ", ".join(f"{count} {ending}" for ending, count in sorted(left_out.items()))
            warnings.warn(f"left out in {folder.resolve()}: {counts}; convert them to train on them", stacklevel=2)
        return files, [name for _, name in found] if classes else None

    def _classes_of(self, folder: Path) -> list[Path]:
        """Its subfolders, in order; none of a flat folder."""
        flat = [path for path in folder.iterdir() if _is_image(path)]
        classes = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        if flat and classes:
            raise ValueError(
                f"{folder.resolve()} holds {len(flat)} images beside subfolders, such as {classes[0].name}: "
                "move them into classes, or pass labels=False (--data.labels false) to train on all without labels"
            )
        return classes


class _Files(Pictures):
    """Image files, decoded by PIL."""

    def __init__(self, files: list[Path], size: tuple[int, int] | None, channels: int) -> None:
        self.files, self.size, self.channels = files, size, channels

    def __len__(self) -> int:
        return len(self.files)

    def name(self, row: int) -> str:
        """Its path."""
        return str(self.files[row])

    def __getitem__(self, row: int) -> Tensor:
        from PIL import Image, ImageOps

        path = self.files[row]
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
        except Exception as error:  # decoders raise whatever a broken file leads them to
            raise CorruptImageError(f"{path} can't be decoded ({type(error).__name__}: {error})") from error
        try:
            return fitted(image, self.size, self.channels)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _images(folder: Path, left_out: Counter[str]) -> list[Path]:
    """The image files at any depth, in order, and in `left_out` how many have other endings; nothing that is hidden."""
    from torchvision.datasets.folder import IMG_EXTENSIONS

    shown = []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if _is_image(path):
            shown.append(path)
        elif path.suffix.lower() in _OTHERS:
            left_out[path.suffix.lower()] += 1
    if not shown:
        endings = ", ".join(IMG_EXTENSIONS)
        raise FileNotFoundError(f"there are no images in {folder.resolve()}, no files that end in {endings}")
    return shown


def _is_image(path: Path) -> bool:
    from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

    return has_file_allowed_extension(path.name, IMG_EXTENSIONS) and not path.name.startswith(".") and path.is_file()
