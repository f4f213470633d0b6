"""A uniform sample of bounded size of the rows of a long sequence, the same whatever batches and processes saw them.

Each row has a number. A bijection of 64-bit integers turns it into a priority, and the rows of least priority are kept
(bottom-k sampling, Cohen and Kaplan, 2007): the least of a union are the least among the least of its parts.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: of rows that are kept; other floating ones become the first
DTYPES = (torch.float32, torch.float64)


def position(seen: int, n: int) -> Tensor:
    """Numbers of this process's next ``n`` rows, after ``seen`` of them, where processes take rows in turn."""
    there = torch.distributed.is_available() and torch.distributed.is_initialized()
    rank, world = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if there else (0, 1)
    return (seen + torch.arange(n)) * world + rank


def priorities(index: Tensor) -> Tensor:
    """A pseudo-random int64 for each number: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    x = index * -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio's odd integer, modulo 2^64
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        x = (x ^ _right(x, shift)) * factor
    return x ^ _right(x, 31)


def least(rows: Tensor, index: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """The ``capacity`` rows of least priority, in the order of it, with their numbers."""
    order = priorities(index).argsort(stable=True)[:capacity]
    return rows[order], index[order]


def _right(x: Tensor, shift: int) -> Tensor:
    """A logical shift of int64, whose own ``>>`` repeats the sign."""
    return (x >> shift) & ((1 << (64 - shift)) - 1)
