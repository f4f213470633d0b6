"""Warnings of callbacks about a run."""

from __future__ import annotations

import warnings

from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_only


@rank_zero_only
def warn_at(iteration: int, text: str, category: type[UserWarning], callback: Callback) -> None:
    """Warn that ``callback`` found something after so many iterations, on the first process alone."""
    # in place of a line of code, which says nothing to who trains, the iteration
    warnings.warn_explicit(text, category, f"{type(callback).__name__}, iteration", iteration)
