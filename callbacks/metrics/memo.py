"""What was computed from reals, for as long as these stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Memo(Generic[T]):
    """The last result of a function of rows (N, d), which is computed again when they, or other arguments, change.

    Rows are known again by a digest of their values, so they may come through resets, copies and synchronisation.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self.function = function
        self._last: tuple[tuple[object, ...], T] | None = None

    def __call__(self, rows: Tensor, *arguments: object) -> T:
        """``function(rows, *arguments)``."""
        digest = hashlib.blake2b(rows.cpu().contiguous().numpy().data).digest()
        key = (digest, rows.shape, rows.dtype, rows.device, *arguments)
        if self._last is None or self._last[0] != key:
            self._last = key, self.function(rows, *arguments)
        return self._last[1]
