"""The directory of a run: one stable place for its configuration, logs, samples and checkpoints."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import IO

CONFIG = "config.yaml"
LAST = Path("checkpoints", "last.ckpt")

_locks: list[IO[str]] = []  # held until released, or the process ends


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


def release() -> None:
    """Give up what this process has claimed."""
    while _locks:
        _locks.pop().close()


def set_aside(root: Path) -> Path | None:
    """Move what an earlier run left in ``root`` to ``root.1`` (or the next free number), and say where it is now."""
    if not (root / CONFIG).exists():
        return None
    number = 1
    while (aside := root.with_name(f"{root.name}.{number}")).exists():
        number += 1
    os.rename(root, aside)
    return aside


def run_id(root: Path) -> str:
    """The run's name for trackers, the same after a resume; made at the first call."""
    path = root / ".run_id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def restore(root: Path, aside: Path | None) -> None:
    """Undo ``set_aside`` for a run that ended before it began: what it left in ``root``, no checkpoint, is removed."""
    if any(root.glob("checkpoints/*.ckpt")):
        return
    if aside is not None:
        shutil.rmtree(root)
        os.rename(aside, root)


def last_checkpoint(root: Path) -> Path:
    """The newest checkpoint of the run in ``root``.

    Raises:
        FileNotFoundError: where there is none.
    """
    path = root / LAST
    if not path.is_file():
        found = sorted(str(p) for p in root.glob("checkpoints/*.ckpt"))
        found += sorted(str(p) for p in root.parent.glob(f"{root.name}.*/checkpoints/*.ckpt"))
        others = f" There are {', '.join(found)}: give one of them." if found else ""
        raise FileNotFoundError(
            f"There is no {path}: no run in {root} has saved a checkpoint to continue from. Give a checkpoint file, or "
            f"the run's directory with --trainer.default_root_dir.{others}"
        )
    return path


def inside(root: Path, path: str | os.PathLike[str] | None) -> str | None:
    """``path`` relative to the run's directory; absolute paths and None stay."""
    return None if path is None else str(root / path)
