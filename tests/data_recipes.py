"""How the contract tests build every data module that the package exports: by itself, or with what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

import datamodules
from datamodules import RingDataModule
from datamodules.truth import GaussianMixture
from datamodules.whitening import ZCAWhitening

DATAMODULES = [
    cls
    for cls in (getattr(datamodules, name) for name in datamodules.__all__)
    if inspect.isclass(cls) and not inspect.isabstract(cls)
]
#: arguments without which a data module can't be built, by its name
NEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "SyntheticDataModule": lambda: {"truth": GaussianMixture(torch.eye(3), 0.05)},
}
#: arguments that make it small
SMALL = {"train_size": 2_000}


def make(cls: type, **kwargs: Any) -> Any:
    small = SMALL if issubclass(cls, datamodules.SyntheticDataModule) else {}
    return cls(**small | NEEDS.get(cls.__name__, dict)() | kwargs)


def whitened_on_ranks(rank: int, world: int) -> tuple[dict[str, Tensor], int]:
    """The whitening of one process of several, and how many training samples it saw."""
    module = RingDataModule(batch_size=2, std=0.1, train_size=1_001, whitening=ZCAWhitening())
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world)
    fit, seen = module.whitening.fit, []

    def counted(stream: Iterable[Tensor]) -> Iterator[Tensor]:
        for batch in stream:
            seen.append(len(batch))
            yield batch

    module.whitening.fit = lambda stream, **kwargs: fit(counted(stream), **kwargs)
    module.setup("fit")
    return dict(module.whitening.state_dict()), sum(seen)
