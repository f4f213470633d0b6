"""What both players' losses are evaluated on: real rows, latents, and every other random number, keyed and private."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def key(*parts: int | str) -> int:
    """A 63-bit generator seed that is a pure function of ``parts``."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1  # torch.Generator.manual_seed takes a signed 64-bit integer


@dataclass(frozen=True)
class RandomRows:
    """Named random tensors for rows ``start`` to ``start + rows`` of a global batch of ``total`` rows.

    A tensor is a pure function of (seed, iteration, draw, name): asking twice gives the same numbers, nothing is drawn
    from the global generator, and the ranks' rows are the rows that one process would have drawn.
    """

    seed: int
    iteration: int
    draw: int
    start: int
    rows: int
    total: int
    device: torch.device
    prefix: str = ""

    def under(self, prefix: str) -> RandomRows:
        """The same rows with names of their own, for one of several parts that would ask by the same name."""
        return replace(self, prefix=f"{self.prefix}{prefix}/")

    def _generator(self, name: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(key(self.seed, self.iteration, self.draw, self.prefix + name))

    def _local(self, values: Tensor) -> Tensor:
        return values[self.start : self.start + self.rows]

    def normal(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Standard normal numbers, shape ``(rows, *shape)``."""
        return self._local(torch.randn(self.total, *shape, generator=self._generator(name), device=self.device))

    def uniform(self, name: str, shape: tuple[int, ...] = ()) -> Tensor:
        """Uniform numbers in [0, 1), shape ``(rows, *shape)``."""
        return self._local(torch.rand(self.total, *shape, generator=self._generator(name), device=self.device))

    def integers(self, name: str, high: int) -> Tensor:
        """Uniform integers in [0, high), shape ``(rows,)``."""
        return self._local(torch.randint(high, (self.total,), generator=self._generator(name), device=self.device))


@dataclass(frozen=True, eq=False)
class GameBatch:
    """One draw of an iteration: a player's loss is a deterministic function of its parameters and this.

    Attributes:
        real: real samples in training space, shape (B, *shape).
        z: latents, shape (B, latent_dim).
        random: named random rows (mixing weights, noise, augmentation) that any loss or penalty may ask for.
        labels: class of each real row, shape (B,), or None. Fakes of the batch carry the same labels.
        index: number of draws before this one in the run; None stands for the mean over draws, which is what a
            diagnostic wants of a lazy penalty.
    """

    real: Tensor
    z: Tensor
    random: RandomRows
    labels: Tensor | None = None
    index: int | None = 0


def joined(rows: Tensor) -> Tensor:
    """The rows of all processes, (world B, *shape), from this one's (B, *shape); differentiable without end.

    What is not a mean over rows (a mean inside a norm, a kernel's pairs, a batch statistic) is computed on these, the
    same on each process. The mean over processes of each one's gradient is then the gradient of one process on the
    joined batch. Every process must call it; one process gets its rows back.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    everything: Tensor = _Gather.apply(rows)
    return everything


class _Gather(torch.autograd.Function):
    """Rows of all processes; its adjoint sums over processes and keeps the own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own: Tensor = _SumOwn.apply(gradient)
        return own


class _SumOwn(torch.autograd.Function):
    """The own rows of the sum over processes, the adjoint of _Gather."""

    @staticmethod
    def forward(ctx: Any, everything: Tensor) -> Tensor:
        total = everything.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        everything: Tensor = _Gather.apply(gradient)
        return everything
