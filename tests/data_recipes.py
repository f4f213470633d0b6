"""How the contract tests build every data module that the package exports: by itself, or with what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

import datamodules
from datamodules.truth import GaussianMixture

DATAMODULES = [
    cls
    for cls in (getattr(datamodules, name) for name in datamodules.__all__)
    if inspect.isclass(cls) and not inspect.isabstract(cls)
]
#: arguments without which a data module can't be built, or that make it small, by its name
NEEDS: dict[str, Callable[[], dict[str, Any]]] = {
    "SyntheticDataModule": lambda: {"truth": GaussianMixture(torch.eye(3), 0.05), "train_size": 2_000},
}


def make(cls: type, **kwargs: Any) -> Any:
    return cls(**NEEDS.get(cls.__name__, dict)() | kwargs)
