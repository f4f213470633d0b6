"""Samples in a fixed order, each exactly once over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from datamodules.checks import require_positive
from datamodules.source import Batch, Source, in_data_space, shard


class EvaluationLoader:
    """Batches of rows rank, rank + world_size, rank + 2 world_size, ...: shards without padding.

    A distributed sampler would repeat samples to make shards equal and so change every statistic. Here shards differ by
    at most one row, so the number of batches may differ by one: do not communicate once per batch.

    Args:
        source: of N rows.
        batch_size: rows of one batch on this process; the last batch may be smaller.
        rank: of this process.
        world_size: number of processes.
        transform: applied to the rows of every batch.
        n: rows in all, spread evenly over the source, which may be in the order of its classes; all of them where None,
            or where there are no more.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        transform: Callable[[Tensor], Tensor] | None = None,
        n: int | None = None,
    ) -> None:
        require_positive(batch_size=batch_size, world_size=world_size, n=n)
        self.source, self.transform = source, transform
        size = len(source)
        taken = size if n is None else min(n, size)
        self.batches = [rows * size // taken for rows in shard(taken, batch_size, rank, world_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for real, labels in self.source.read(self.batches):
            real = in_data_space(real)
            yield real if self.transform is None else self.transform(real), labels
