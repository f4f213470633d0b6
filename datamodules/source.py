"""Where the rows of a split come from: tensors in memory, or a data set that worker processes read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import Self

from datamodules.checks import Promise

Batch = tuple[Tensor, Tensor | None]  # samples (N, *shape), labels (N,) int64


def in_data_space(samples: Tensor) -> Tensor:
    """Images of uint8 as floating-point numbers in [0, 1], x / 255; anything else as it is."""
    return samples / 255 if samples.dtype == torch.uint8 else samples


def shard(size: int, batch_size: int, rank: int, world_size: int) -> list[Tensor]:
    """Rows rank, rank + world_size, rank + 2 world_size, ... below `size`, in batches, the last of them smaller."""
    rows = torch.arange(size)[rank::world_size]
    return list(torch.split(rows, batch_size)) if len(rows) else []


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device, without waiting for what CUDA is still computing.

    CUDA has taken in a tensor of main memory, or keeps it, when the copy is queued. Other devices may read it later,
    when it is gone (MPS does: PyTorch's issue 189690), so they are waited for.
    """
    return tensor.to(device, non_blocking=torch.device(device).type == "cuda")


class Source(ABC):
    """N samples with their labels, or without, read by row number."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows N."""

    @abstractmethod
    def read(self, rows: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of row numbers, (B,) int64 in [0, N), the batch of those rows as stored, in order.

        Images of uint8 stand for x / 255: `in_data_space` converts them.
        """

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The source whose batches are on the device."""


@dataclass(frozen=True)
class InMemory(Source):
    """All rows in one tensor, indexed on its own device: no worker processes, no copies but the batch's.

    Attributes:
        samples: (N, *shape), in data space, or images of uint8 that stand for x / 255.
        labels: (N,) int64, or None.
        resident: whether `to` moves all rows at once; else rows stay where they are, and each batch is moved.
        device: of the batches; that of the samples where None.
    """

    samples: Tensor
    labels: Tensor | None = None
    resident: bool = True
    device: torch.device | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def read(self, rows: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield the rows of each batch; they are copies."""
        device = self.samples.device if self.device is None else self.device
        for index in rows:
            index = moved(index, self.samples.device)
            labels = None if self.labels is None else moved(self.labels.index_select(0, index), device)
            yield moved(self.samples.index_select(0, index), device), labels

    def to(self, device: torch.device) -> Self:
        """The same rows, handed out on the device; the same tensors where they are there already."""
        if not self.resident:
            return replace(self, device=device)
        labels = None if self.labels is None else self.labels.to(device)
        return replace(self, samples=self.samples.to(device), labels=labels, device=device)


@dataclass(frozen=True)
class FromWorkers(Source):
    """Rows that a map-style data set makes one by one, in worker processes, ahead of their use and in their order.

    Rows are a function of their number alone: what the data set draws at random in `__getitem__` is neither resumable
    nor equal on several processes. Random flips and crops belong in the data module's `augmentations`.

    Attributes:
        dataset: of samples, or (sample, label) where there are classes: floating-point in data space, or uint8 images.
        promise: what its items are held to.
        workers: number of processes; 0 reads in this one.
        device: of the batches.
    """

    dataset: Dataset[Any]
    promise: Promise
    workers: int = 0
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # a map-style data set has a length

    def read(self, rows: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield the rows of each batch.

        Raises:
            ValueError: a row is not of the promised shape, type or range; it is named.
        """
        loader: DataLoader[Batch] = DataLoader(
            _Rows(self),
            batch_sampler=(index.tolist() for index in rows),
            num_workers=self.workers,
            collate_fn=_itself,
            generator=torch.Generator(),  # of the workers' seeds, which are else drawn from the global one
            pin_memory=torch.device(self.device).type == "cuda",
        )
        for samples, labels in loader:
            yield moved(samples, self.device), None if labels is None else moved(labels, self.device)

    def to(self, device: torch.device) -> Self:
        """The same rows, handed out on the device."""
        return replace(self, device=device)


@dataclass(frozen=True)
class _Rows(Dataset[Batch]):
    """Whole checked batches of a data set, by lists of row numbers."""

    source: FromWorkers

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: list[int]) -> Batch:
        items, promise = [self.source.dataset[row] for row in rows], self.source.promise
        for row, item in zip(rows, items, strict=True):
            promise.check_item(f"row {row}", item)
        samples, labels = zip(*items, strict=True) if promise.num_classes is not None else (items, None)
        for row, sample in zip(rows, samples, strict=True):
            promise.check_samples(f"row {row}: samples", sample.unsqueeze(0))
        if labels is None:
            return torch.stack(samples), None
        together = torch.as_tensor(labels)
        promise.check_labels(f"labels of rows {rows}", together, len(rows))
        return torch.stack(samples), together


def _itself(batch: Any) -> Any:
    """Batches come collated; a function of the module, which worker processes can import."""
    return batch
