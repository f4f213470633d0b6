"""A pool of processes joined by gloo, for tests of what several processes must agree on."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def _serve(rank: int, world: int, rendezvous: str, tasks: Any, results: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    while (task := tasks.get()) is not None:
        function, args = task
        try:
            results.put((rank, function(rank, world, *args), None))
        except Exception:
            results.put((rank, None, traceback.format_exc()))
    dist.destroy_process_group()


class GlooPool:
    """Runs ``function(rank, world, *args)`` on every process and returns the results by rank."""

    def __init__(self, directory: Path, world: int = 2) -> None:
        context = mp.get_context("spawn")
        self.world = world
        self._tasks = [context.Queue() for _ in range(world)]
        self._results = context.Queue()
        rendezvous = str(directory / "rendezvous")
        self._processes = [
            context.Process(
                target=_serve, args=(rank, world, rendezvous, self._tasks[rank], self._results), daemon=True
            )
            for rank in range(world)
        ]
        for process in self._processes:
            process.start()

    def __call__(self, function: Callable[..., Any], *args: Any, timeout: float = 120) -> list[Any]:
        """The function must be importable by name in a fresh process: put it into tests/recipes.py."""
        for queue in self._tasks:
            queue.put((function, args))
        answers = sorted((self._results.get(timeout=timeout) for _ in range(self.world)), key=lambda a: a[0])
        for rank, _, error in answers:
            if error is not None:
                raise AssertionError(f"rank {rank} failed:\n{error}")
        return [value for _, value, _ in answers]

    def close(self) -> None:
        for queue in self._tasks:
            queue.put(None)
        for process in self._processes:
            process.join(timeout=10)
            if process.is_alive():
                process.terminate()
