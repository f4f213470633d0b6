"""Features of real samples on disk: they are the same in every run with the same data and extractor."""

from __future__ import annotations

import os
import secrets
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


class FeatureCache:
    """A directory of files, one for each set of features, named by what determines them.

    A file appears whole or not at all, so several processes may write the same one. One that is damaged, or holds
    something else, is not used, with a warning; what is computed instead replaces it.

    Args:
        directory: made when something is kept; None keeps nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def load(self, key: str, rows: int) -> Tensor | None:
        """The features kept under ``key``, float32 (rows, d), or None."""
        path = self._path(key)
        if path is None or not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as arrays:
                features, of = arrays["features"], str(arrays["key"])
        # the last two where damage reads as another kind of archive, NotImplementedError among them
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, RuntimeError) as error:
            warnings.warn(f"The kept features {path} are damaged ({error}): they are computed again.", stacklevel=2)
            return None
        if of != key or features.ndim != 2 or len(features) != rows or features.dtype != np.float32:
            warnings.warn(
                f"The kept features {path} are not those asked for ({features.shape} {features.dtype} of {of!r}, not "
                f"{rows} rows of {key!r}): they are computed again.",
                stacklevel=2,
            )
            return None
        return torch.from_numpy(features)

    def save(self, key: str, features: Tensor) -> None:
        """Keep features; where the disk refuses, warn and go on."""
        path = self._path(key)
        if path is None:
            return
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(unfinished, "wb") as file:
                np.savez(file, features=features.float().cpu().numpy(), key=np.array(key))
            os.replace(unfinished, path)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            warnings.warn(f"The features of real samples could not be kept in {path}: {error}", stacklevel=2)

    def _path(self, key: str) -> Path | None:
        return None if self.directory is None else self.directory / f"{key}.npz"


def default_directory() -> Path | None:
    """``$GAN_MODULES_CACHE``, none if it is set and empty, or ``gan-modules`` in the user's cache directory."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    chosen = os.environ.get("GAN_MODULES_CACHE", str(Path(home, "gan-modules")))
    return Path(chosen, "features") if chosen else None
