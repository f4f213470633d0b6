"""Random changes of training images, drawn with the batch: the same on any number of processes and after a resume.

They change the data that a GAN is to learn. What only the discriminator sees of real and generated images alike
(DiffAugment, adaptive augmentation) is `gan_modules.augmentation`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.checks import require_positive
from datamodules.source import moved


@dataclass(frozen=True)
class DataAugmentation(ABC):
    """A random change of images, a function of the images and of numbers drawn for them.

    It sees images as they are stored, floating-point or uint8, and moves pixels without changing them. A subclass says
    in `numbers` how many uniform numbers in [0, 1) it takes for an image; they come from main memory, so that what is
    computed of them alone makes no device wait.
    """

    numbers: ClassVar[int]

    @abstractmethod
    def __call__(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Images (B, C, H, W) changed by `uniform`, (B, numbers)."""


@dataclass(frozen=True)
class HorizontalFlip(DataAugmentation):
    """Left and right change places in a share of the images.

    Attributes:
        probability: in [0, 1].

    Raises:
        ValueError: a probability outside [0, 1].
    """

    numbers: ClassVar[int] = 1
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"probability must lie in [0, 1], got {self.probability}")

    def __call__(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Flip where the number is below the probability."""
        # of every image and its mirror image, one: several times as fast as writing into a copy
        chosen = torch.arange(len(x)) + len(x) * (uniform[:, 0] < self.probability)
        return torch.cat([x, x.flip(-1)]).index_select(0, moved(chosen, x.device))


@dataclass(frozen=True)
class RandomCrop(DataAugmentation):
    """Images moved by up to `padding` pixels each way; what comes in at the border mirrors the image.

    Attributes:
        padding: pixels, fewer than the image has on a side; all (2 padding + 1)^2 shifts are equally likely.

    Raises:
        ValueError: padding is not positive, or (when called) not less than a side.
    """

    numbers: ClassVar[int] = 2
    padding: int = 4

    def __post_init__(self) -> None:
        require_positive(padding=self.padding)

    def __call__(self, x: Tensor, uniform: Tensor) -> Tensor:
        """Move the window by the numbers, the first down and the second to the right."""
        height, width = x.shape[-2:]
        if self.padding >= min(height, width):
            raise ValueError(f"a crop of padding {self.padding} needs sides above it, images are {height}x{width}")
        # a float32 below 1 times an odd number may round up to it
        start = (uniform * (2 * self.padding + 1)).long().clamp(max=2 * self.padding) - self.padding
        rows = moved(_mirrored(start[:, :1] + torch.arange(height), height), x.device)
        columns = moved(_mirrored(start[:, 1:] + torch.arange(width), width), x.device)
        image = torch.arange(len(x), device=x.device)[:, None, None]
        return x[image, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1).contiguous()


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Indices of a row that goes on as its mirror image at either end."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def numbers_of(augmentations: Sequence[DataAugmentation]) -> int:
    """How many uniform numbers an image takes through all of them."""
    return sum(augmentation.numbers for augmentation in augmentations)


def augmented(x: Tensor, augmentations: Sequence[DataAugmentation], uniform: Tensor) -> Tensor:
    """Images (B, C, H, W) through one augmentation after the other, with (B, numbers_of(augmentations)) numbers."""
    for augmentation in augmentations:
        x, uniform = augmentation(x, uniform[:, : augmentation.numbers]), uniform[:, augmentation.numbers :]
    return x
