"""One process of two: ``python worker.py RANK FOLDER`` evaluates every case and saves what both ways of it give."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from callbacks.metrics import FrechetDistance, ModeCoverage

Updates = list[tuple[Any, ...]]


def rows(seed: int, n: int, d: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + seed + torch.randn(n, d, generator=generator, dtype=torch.float64)


def modes(seed: int, n: int) -> Tensor:
    return torch.randint(-1, 5, (n,), generator=torch.Generator().manual_seed(seed))


def own_gather(part: Tensor, group: Any = None) -> list[Tensor]:
    return [*gather_all_tensors(part, group)]


def cases() -> dict[str, tuple[Callable[..., Any], Updates, Updates]]:
    """A metric by name, and what process 0 and process 1 see."""
    real, fake = (rows(0, 300), True), (rows(1, 200), False)
    few = [(rows(2, 7), True), (rows(3, 1), False)]
    counted = [(modes(0, 50), True), (modes(1, 40), False)]
    return {
        "frechet uneven": (FrechetDistance, [real, fake], few),
        "frechet empty": (FrechetDistance, [real, fake], []),
        "frechet one side each": (lambda **kw: FrechetDistance(6, **kw), [real], [fake]),
        "frechet few": (
            FrechetDistance,
            [(rows(0, 90, d=40), True), (rows(1, 9, d=40), False)],
            [(rows(2, 8, d=40), False)],
        ),
        "frechet own gather": (lambda **kw: FrechetDistance(dist_sync_fn=own_gather, **kw), [real, fake], []),
        "modes uneven": (lambda **kw: ModeCoverage(5, **kw), counted, [(modes(2, 3), False)]),
        "modes empty": (lambda **kw: ModeCoverage(5, **kw), counted, []),
    }


def value_of(metric: Any, updates: Updates) -> Any:
    for arguments in updates:
        metric.update(*arguments)
    return metric.compute()


def raised(call: Callable[[], Any]) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def compared(rank: int) -> dict[str, tuple[Any, Any]]:
    """By case, the value on two processes (evaluated twice, as training would) and on one."""
    results = {}
    for name, (make, *shares) in cases().items():
        metric = make()
        value_of(metric, shares[rank])
        both = value_of(metric, shares[rank])
        results[name] = both, value_of(make(sync_on_compute=False), [*shares[0], *shares[1]] * 2)
    return results


def failures(rank: int) -> dict[str, Any]:
    """What every process is told when all of them together cannot be evaluated, and that it goes on from there."""
    scarce = FrechetDistance()
    scarce.update(rows(0, 9), real=True)
    told = raised(scarce.compute)
    scarce.update(rows(rank, 2), real=False)
    alone = FrechetDistance(sync_on_compute=False)
    sides = [(rows(0, 9), True)] * 2 + [(rows(0, 2), False), (rows(1, 2), False)]
    odd = FrechetDistance()
    odd.update(rows(0, 3, d=4 + rank), real=True)
    return {"scarce": told, "after": (scarce.compute(), value_of(alone, sides)), "widths": raised(odd.compute)}


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    results = {"compared": compared(rank), "failures": failures(rank)}
    torch.save(results, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
