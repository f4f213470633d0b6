"""Samples in a fixed order, each exactly once over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from datamodules.checks import require_positive


class EvaluationLoader:
    """Batches of rows rank, rank + world_size, rank + 2 world_size, ...: shards without padding.

    A distributed sampler would repeat samples to make shards equal and so change every statistic. Here shards differ by
    at most one row, so the number of batches may differ by one: do not communicate once per batch.

    Args:
        samples: (N, *shape).
        labels: (N,) or None.
        batch_size: rows of one batch on this process; the last batch may be smaller.
        rank: of this process.
        world_size: number of processes.
        transform: applied to the rows of every batch.
    """

    def __init__(
        self,
        samples: Tensor,
        labels: Tensor | None,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        require_positive(batch_size=batch_size, world_size=world_size)
        self.samples = samples[rank::world_size]
        self.labels = None if labels is None else labels[rank::world_size]
        self.batch_size, self.transform = batch_size, transform

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for start in range(0, len(self.samples), self.batch_size):
            rows = slice(start, start + self.batch_size)
            real = self.samples[rows]
            labels = None if self.labels is None else self.labels[rows]
            yield real if self.transform is None else self.transform(real), labels
