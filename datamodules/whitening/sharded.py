"""Moments of a data set of which each process holds a share, and one solution for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from datamodules.whitening.moments import Moments


def joined() -> bool:
    """Whether there is more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def consume_sharded(moments: Moments, stream: Iterable[Tensor]) -> Moments:
    """Take in this process's share of a data set, then what the others took in; a share may be empty.

    Means and counts are gathered, each scatter is moved to the common mean, and the sum goes to process 0, the only one
    whose scatter is that of the whole: O(d^2) memory on each process whatever their number.

    Raises:
        ValueError: the processes' samples differ in shape.
        RuntimeError: another process could not take in its share; this one raises what its own share raised.
    """
    error: Exception | None = None
    try:
        moments.consume(stream)
    except Exception as raised:  # every process must reach the collectives below, or the others wait for ever
        error = raised
    told = (None if error is None else str(error), moments.shape, moments.count, moments.epsilon)
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, told)
    if error is not None:
        raise error
    for rank, (failure, *_) in enumerate(shares):
        if failure is not None:
            raise RuntimeError(f"process {rank} could not fit its share: {failure}")
    shapes = {shape for _, shape, *_ in shares if shape is not None}
    if len(shapes) > 1:
        raise ValueError(f"processes hold samples of different shapes {sorted(shapes)}; a data set needs one shape")
    if shapes:
        _merge(moments, shapes.pop(), [count for _, _, count, _ in shares])
        moments.epsilon = max(epsilon for *_, epsilon in shares)
    return moments


def _merge(moments: Moments, shape: tuple[int, ...], counts: list[int]) -> None:
    device = _device()
    if moments.shape is None:
        moments.origin = moments.offset = torch.zeros(shape, dtype=torch.float64)
        moments.scatter = torch.zeros_like(moments.products(moments.origin[None]))
    own = torch.stack([moments.origin, moments.offset]).to(device)
    parts = [torch.empty_like(own) for _ in counts]
    dist.all_gather(parts, own)
    origin = next(part[0] for part, count in zip(parts, counts, strict=True) if count)
    weights = torch.tensor(counts, dtype=torch.float64, device=device) / sum(counts)
    offsets = torch.stack([part[0] - origin + part[1] for part in parts])
    mean = torch.tensordot(weights, offsets, 1)
    shift = (offsets[dist.get_rank()] - mean) * moments.count**0.5
    scatter = moments.scatter.to(device) + moments.products(shift[None])
    dist.reduce(torch.view_as_real(scatter) if scatter.is_complex() else scatter, dst=0)
    moments.shape, moments.count = shape, sum(counts)
    moments.origin, moments.offset, moments.scatter = origin, mean, scatter


def solved_once(solve: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What process 0 solves, bit for bit the same on every process.

    Raises:
        RuntimeError: process 0 could not solve; process 0 itself raises what `solve` raised.
    """
    found: dict[str, Tensor] = {}
    error: Exception | None = None
    if dist.get_rank() == 0:
        try:
            found = solve()
        except Exception as raised:
            error = raised
    told: list[Any] = [None if error is None else str(error), {name: tuple(t.shape) for name, t in found.items()}]
    dist.broadcast_object_list(told, src=0)
    if error is not None:
        raise error
    failure, shapes = told
    if failure is not None:
        raise RuntimeError(f"process 0 could not solve: {failure}")
    for name, shape in shapes.items():
        tensor = found[name].to(_device()).contiguous() if found else None
        tensor = torch.empty(shape, dtype=torch.float64, device=_device()) if tensor is None else tensor
        dist.broadcast(tensor, src=0)
        shapes[name] = tensor
    return dict(shapes)


def _device() -> torch.device:
    """NCCL moves what sits on the GPU, every other backend what sits in main memory."""
    nccl = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")
