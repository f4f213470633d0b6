"""Images that are decoded, resized and cropped one by one: at once where they fit in memory, else by workers."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.checks import require_positive
from datamodules.image import ImageDataModule
from datamodules.source import Batch


class CorruptImageError(ValueError):
    """An image that can't be decoded; the message names it."""


class Pictures(Dataset[Tensor]):
    """N images by row number, each (C, H, W) uint8; a row that can't be decoded raises CorruptImageError."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of images N."""

    @abstractmethod
    def __getitem__(self, row: int) -> Tensor:
        """Decode one image."""

    @abstractmethod
    def name(self, row: int) -> str:
        """What messages call it."""


class DecodedDataModule(ImageDataModule):
    """Images that are held in memory in uint8 where a split fits, decoded once in `setup`, else read by workers.

    Args:
        size: of the images, a side or [height, width]: they are cropped to this aspect ratio around their centre and
            resized by PIL's Lanczos filter, which is antialiased. None leaves them, and they must be of one size.
        channels: 3 for colour, 1 for grey (ITU-R 601-2 luma); transparency is dropped.
        memory_limit: GiB of uint8 that a split may take in memory, on each process; 0 for workers in any case. 4 GiB
            are 349,525 images of 3x64x64, or 21,845 of 3x256x256.
        on_corrupt: "error" names a file that can't be decoded, in `setup` or, where workers decode, when it is read;
            "skip" leaves such files out and warns, with a count. For that, and for a `size` of None, every image is
            decoded in `setup` even if workers decode it again.
        **kwargs: those of ImageDataModule; `num_workers` threads decode in `setup`, and as many processes afterwards.

    Raises:
        ValueError: a size, a number of channels or a limit that there is not; on loading, images of several sizes
            where `size` is None, and (CorruptImageError) images that can't be decoded.
    """

    threads = True  # whether several threads may read the images

    def __init__(
        self,
        *,
        size: int | Sequence[int] | None,
        channels: Literal[1, 3] = 3,
        memory_limit: float = 4.0,
        on_corrupt: Literal["error", "skip"] = "error",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sides = [size, size] if isinstance(size, int) else size
        if sides is not None:
            if len(sides) != 2:
                raise ValueError(f"size must be a side or [height, width], got {size}")
            require_positive(height=sides[0], width=sides[1])
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        if not memory_limit >= 0:
            raise ValueError(f"memory_limit must be at least 0 GiB, got {memory_limit}")
        if on_corrupt not in ("error", "skip"):
            raise ValueError(f"on_corrupt must be 'error' or 'skip', got {on_corrupt!r}")
        self.size = None if sides is None else (int(sides[0]), int(sides[1]))
        self.channels, self.memory_limit, self.on_corrupt = channels, memory_limit, on_corrupt

    @property
    def shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        assert self.size is not None
        return (self.channels, *self.size)

    def gather(self, images: Tensor | Dataset[Tensor], rows: Tensor, labels: Tensor | None) -> Batch | Dataset[Any]:
        """Return the rows in memory where they fit, else a Dataset of them; without those that are skipped."""
        assert isinstance(images, Pictures)
        held = len(rows) * math.prod(self.shape) <= self.memory_limit * 2**30
        decoded, kept = None, torch.arange(len(rows))
        if held or self.on_corrupt == "skip" or self.size is None:
            decoded, kept = self._decode(images, rows.tolist(), held)
        chosen = None if labels is None else labels[kept]
        return _Rows(images, rows[kept], chosen) if decoded is None else (decoded, chosen)

    def _decode(self, images: Pictures, rows: list[int], hold: bool) -> tuple[Tensor | None, Tensor]:
        """Decode every row; return the images, if they are to be held, and the positions of those in `rows`."""
        out = torch.empty(len(rows), *self.shape, dtype=torch.uint8) if hold else None
        sizes: dict[int, tuple[int, ...]] = {}
        corrupt: dict[int, CorruptImageError] = {}

        def decode(position: int) -> None:
            try:
                image = images[rows[position]]
            except CorruptImageError as error:
                if self.on_corrupt == "error":
                    raise CorruptImageError(
                        f"{error}; replace or remove it, or have such files left out by on_corrupt='skip' "
                        "(--data.on_corrupt skip)"
                    ) from error
                corrupt[position] = error
                return
            sizes[position] = tuple(image.shape[1:])
            if out is not None and image.shape == out.shape[1:]:
                out[position] = image

        self._for_each(decode, len(rows), "decoding images")
        if other := sorted(position for position, sides in sizes.items() if sides != self.shape[1:]):
            common = Counter("x".join(map(str, sides)) for sides in sizes.values()).most_common(5)
            counts = ", ".join(f"{number} of {size}" for size, number in common)
            raise ValueError(
                f"images must be of the first one's size, height x width {'x'.join(map(str, self.shape[1:]))}; there "
                f"are {counts}, as {images.name(rows[other[0]])}: crop and resize all of them by size "
                f"(--data.size {self.shape[-1]})"
            )
        if corrupt:
            examples = "; ".join(str(corrupt[position]) for position in sorted(corrupt)[:5])
            warnings.warn(f"skipped {len(corrupt)} of {len(rows)} images, corrupt: {examples}", stacklevel=2)
        kept = torch.tensor([position for position in range(len(rows)) if position not in corrupt], dtype=torch.int64)
        return (out[kept] if out is not None and corrupt else out), kept

    def _for_each(self, do: Callable[[int], None], number: int, what: str) -> None:
        """Call `do` on 0, ..., number - 1, in threads where that is safe, with a progress bar on the first process."""
        from rich import get_console
        from rich.progress import track

        def shown(done: Iterable[None]) -> None:
            quiet = self._process()["rank"] > 0 or not get_console().is_terminal
            for _ in track(done, what, total=number, transient=True, disable=quiet):
                pass

        if not self.threads or self.num_workers < 2:
            return shown(map(do, range(number)))
        with ThreadPoolExecutor(self.num_workers) as pool:
            # in pieces, because the pool queues all that it is given
            pieces = (range(start, min(start + 1024, number)) for start in range(0, number, 1024))
            shown(done for piece in pieces for done in pool.map(do, piece))
        return None


class _Rows(Dataset[Any]):
    """Images, or (image, label), of some rows."""

    def __init__(self, images: Pictures, rows: Tensor, labels: Tensor | None) -> None:
        self.images, self.rows, self.labels = images, rows, labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Any:
        image = self.images[int(self.rows[position])]
        return image if self.labels is None else (image, int(self.labels[position]))


def fitted(image: Any, size: tuple[int, int] | None, channels: int) -> Tensor:
    """Convert a PIL image to (channels, *size) uint8.

    Raises:
        ValueError: pixels of more than 8 bits, which PIL would cut off at 255.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if image.mode[0] in "IF":
        raise ValueError(f"pixels of mode {image.mode} have more than 8 bits; convert them to 8-bit grey or colour")
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and (image.height, image.width) != size:
        image = ImageOps.fit(image, (size[1], size[0]), method=Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image))
    return (pixels[:, :, None] if channels == 1 else pixels).permute(2, 0, 1).contiguous()
