"""Every whitening that the package exports, with variants of its options, and fits on several processes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from datamodules import whitening as package
from datamodules.whitening import CholeskyWhitening, FourierWhitening, PCAWhitening, Whitening, ZCAWhitening

EXPORTED: dict[str, Callable[[], Whitening]] = {
    name: cls
    for name, cls in ((name, getattr(package, name)) for name in package.__all__)
    if issubclass(cls, Whitening) and not inspect.isabstract(cls)
}
#: with default arguments, and with others that a contract must hold for
WHITENINGS: dict[str, Callable[[], Whitening]] = EXPORTED | {
    "ZCA half": lambda: ZCAWhitening(power=0.5),
    "ZCA regularised": lambda: ZCAWhitening(epsilon=0.1),
    "ZCA of rank 5": lambda: ZCAWhitening(rank=5),
    "PCA of rank 5": lambda: PCAWhitening(power=0.7, rank=5),
    "PCA shrunk": lambda: PCAWhitening(shrinkage=0.1),
    "Cholesky shrunk": lambda: CholeskyWhitening(shrinkage="oas"),
    "Fourier half": lambda: FourierWhitening(power=0.5, epsilon=0.01),
}


def images(n: int = 40, dtype: torch.dtype = torch.float64) -> Tensor:
    """Correlated images (N, 2, 3, 3) whose first pixel is constant, at .3."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(18, 18, generator=generator, dtype=torch.float64)
    x = torch.randn(n, 18, generator=generator, dtype=torch.float64) @ mixing + 0.7
    x[:, 0] = 0.3
    return x.reshape(n, 2, 3, 3).to(dtype)


def fitted_on_ranks(rank: int, world: int, name: str, sizes: list[int]) -> dict[str, Tensor]:
    """Statistics of a fit on images of which process r holds sizes[r], in batches of 7."""
    shares = (images(sum(sizes)) + 1e4).split(sizes)
    whitening = WHITENINGS[name]().fit(shares[rank].split(7) if sizes[rank] else [], sharded=True)
    return dict(whitening.state_dict())


def failure_on_ranks(rank: int, world: int, case: str) -> str | None:
    """What a fit raised on this process where process 1 holds bad data, or where together they hold too few."""
    x: Any = images(40)
    if case == "NaN":
        x = x * float("nan") if rank == 1 else x
    elif case == "shape":
        x = x.flatten(1) if rank == 1 else x
    elif case == "few":
        x = x[:5]
    try:
        ZCAWhitening().fit([x], sharded=True)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return None
