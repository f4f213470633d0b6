"""The directory of a run: one stable place for its configuration, logs, samples and checkpoints."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

CONFIG = "config.yaml"
LAST = Path("checkpoints", "last.ckpt")

_locks: list[IO[str]] = []  # held until the process ends


def claim(root: Path) -> None:
    """Make ``root`` this process's own, so that no second run writes into it.

    Raises:
        RuntimeError: where another process is using it.
    """
    root.mkdir(parents=True, exist_ok=True)
    lock = open(root / ".lock", "a+")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RuntimeError(
            f"{root} is in use by another run: give this one its own directory, --trainer.default_root_dir runs/NAME."
        ) from None
    _locks.append(lock)


def set_aside(root: Path) -> Path | None:
    """Move what an earlier run left in ``root`` to ``root.1`` (or the next free number), and say where it is now."""
    if not (root / CONFIG).exists():
        return None
    number = 1
    while (aside := root.with_name(f"{root.name}.{number}")).exists():
        number += 1
    os.rename(root, aside)
    return aside


def last_checkpoint(root: Path) -> Path:
    """The newest checkpoint of the run in ``root``.

    Raises:
        FileNotFoundError: where there is none.
    """
    path = root / LAST
    if not path.is_file():
        found = sorted(str(p) for p in root.glob("checkpoints/*.ckpt"))
        others = f" It holds {', '.join(found)}: give one of them." if found else ""
        raise FileNotFoundError(
            f"There is no {path}: no run in {root} has saved a checkpoint to continue from. Give a checkpoint file, or "
            f"the run's directory with --trainer.default_root_dir.{others}"
        )
    return path


def inside(root: Path, path: str | os.PathLike[str] | None) -> str | None:
    """``path`` relative to the run's directory; absolute paths and None stay."""
    return None if path is None else str(root / path)
