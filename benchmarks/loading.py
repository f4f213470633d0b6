"""Time of a batch from memory, against DataLoader with worker processes on the same images, in one process.

    python -m benchmarks.loading [--rows 50000] [--side 32] [--batch_size 256] [--workers 2] [--repeats 12]

Images are 3 x side x side in uint8, a batch is float32 in [0, 1]. DataLoader is measured at its best, where its data
set indexes the same tensor, and as it is mostly used, where it opens a PIL image, flips it at random and makes a tensor
(torchvision.transforms.v2). Blocks of batches alternate, so that a busy machine slows all alike; before each of them
workers have the time to fill their queues, so that they take no time of other arms, and start with 2 batches a worker
that cost them none. A ratio is the median over blocks, with the interval of its order
statistics. Memory is what the process holds more, once the data are loaded, than before.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.report import conclude, median_and_interval, words
from datamodules.augmentation import HorizontalFlip
from datamodules.checks import Promise
from datamodules.source import FromWorkers, InMemory, Source
from datamodules.stream import TrainingStream

REST = 0.3  # seconds in which workers fill their queues


class Indexed(Dataset[Tensor]):
    """Rows of a tensor, converted one by one."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row] / 255


class Pictures(Indexed):
    """Rows as PIL images through the usual transforms."""

    def __init__(self, images: Tensor) -> None:
        from torchvision.transforms import v2

        super().__init__(images.permute(0, 2, 3, 1).contiguous())
        steps = [v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        self.transform = v2.Compose(steps)

    def __getitem__(self, row: int) -> Any:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[row].numpy()))


class Raw(Indexed):
    """Rows of a tensor as they are: what a data module hands to workers."""

    def __getitem__(self, row: int) -> Tensor:
        return self.images[row]


def stream(source: Source, batch_size: int, flip: bool = False) -> Iterator[Any]:
    """Ours, without end."""
    augmentations = [HorizontalFlip()] if flip else []
    return iter(TrainingStream(source, batch_size=batch_size, augmentations=augmentations, epoch_iterations=10**9))


def loader(dataset: Dataset[Any], batch_size: int, workers: int) -> Iterator[Any]:
    """DataLoader's, without end."""
    batches = DataLoader(dataset, batch_size, shuffle=True, num_workers=workers, persistent_workers=True)
    return chain.from_iterable(repeat(batches))


def seconds(batches: Iterator[Any], count: int) -> float:
    """Time of a batch, over `count` of them."""
    time.sleep(REST)
    started = time.perf_counter()
    for _ in range(count):
        next(batches)
    return (time.perf_counter() - started) / count


def held() -> int:
    """Bytes that this process has in memory (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(rows: int, shape: tuple[int, ...], batch_size: int) -> float:
    """What a run of some batches holds, in units of the data in uint8."""
    warm = torch.zeros(2 * batch_size, *shape, dtype=torch.uint8)
    seconds(stream(InMemory(warm), batch_size), 10)  # the buffers of a batch are not the data's
    before = held()
    images = torch.randint(256, (rows, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    seconds(stream(InMemory(images), batch_size), 10)
    return (held() - before) / images.numel()


def main() -> None:
    """Measure all arms and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.loading", description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=40, help="of a block")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--out", type=Path, help="a .json file for the results")
    args = parser.parse_args()
    console, load, shape = Console(), os.getloadavg()[0], (3, args.side, args.side)
    share = memory(args.rows, shape, args.batch_size) if Path("/proc/self/statm").exists() else float("nan")
    images = torch.randint(256, (args.rows, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    promise = Promise(shape, None, (0.0, 1.0))
    arms = {
        "from memory": stream(InMemory(images), args.batch_size),
        "from memory, flipped": stream(InMemory(images), args.batch_size, flip=True),
        "from workers": stream(FromWorkers(Raw(images), promise, args.workers), args.batch_size),
        "DataLoader, tensor": loader(Indexed(images), args.batch_size, args.workers),
        "DataLoader, PIL, flipped": loader(Pictures(images), args.batch_size, args.workers),
    }
    for batches in arms.values():  # workers start, caches fill
        seconds(batches, 5)
    times: dict[str, list[float]] = {name: [] for name in arms}
    for _ in track(range(args.repeats), "blocks", console=console, transient=True):
        for name, batches in arms.items():
            times[name].append(seconds(batches, args.batches))
    table = Table("", "ms a batch", "DataLoader, tensor = 1", "DataLoader, PIL = 1", title="a batch of images")
    rows: list[dict[str, Any]] = []
    for name, values in times.items():
        row = {"arm": name, "ms": median_and_interval([1e3 * value for value in values])}
        for reference in ("DataLoader, tensor", "DataLoader, PIL, flipped"):
            row[reference] = median_and_interval([a / b for a, b in zip(values, times[reference], strict=True)])
        table.add_row(name, *(words(value) for value in list(row.values())[1:]))
        rows.append(row)
    console.print(table)
    console.print(f"memory: {share:.3f} of the data in uint8, {args.rows * 3 * args.side**2 / 2**20:.0f} MiB")
    conclude(console, rows, load, args.out, memory=share, images=args.rows, side=args.side, workers=args.workers)


if __name__ == "__main__":
    main()
