"""What was computed from reals, for as long as these stay the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import ref

from torch import Tensor

T = TypeVar("T")


class Memo(Generic[T]):
    """The last result of a function of rows (N, d), which is computed again when they, or other arguments, change.

    Rows are known again by a digest of their values, so they may come through resets, copies and synchronisation; the
    same tensor, not written to since, is known without one.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self.function = function
        self._last: tuple[tuple[object, ...], T] | None = None
        self._seen: tuple[ref[Tensor], int, tuple[object, ...]] | None = None  # what it is of, and its version

    def __call__(self, rows: Tensor, *arguments: object) -> T:
        """``function(rows, *arguments)``."""
        version = -1 if rows.is_inference() else rows._version  # those made in inference mode have none
        seen = self._seen is not None and self._seen[0]() is rows and self._seen[1:] == (version, arguments)
        if self._last is not None and seen and version >= 0:
            return self._last[1]
        digest = hashlib.blake2b(rows.cpu().contiguous().numpy().data).digest()
        key = (digest, rows.shape, rows.dtype, rows.device, *arguments)
        if self._last is None or self._last[0] != key:
            self._last = key, self.function(rows, *arguments)
        self._seen = ref(rows), version, arguments
        return self._last[1]

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_seen": None}  # a copy's tensors are others
