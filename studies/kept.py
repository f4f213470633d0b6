"""Results that take long, kept in files, so that a study that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def kept(path: Path, asked: dict[str, Any], compute: Callable[[], Any]) -> Any:
    """What ``compute`` gave when the same was asked before, read from ``path``; else what it gives now, written there.

    Both are kept as JSON. Remove the file, or its directory, to have it computed anew.
    """
    asked = json.loads(json.dumps(asked))
    if path.exists():
        known = json.loads(path.read_text())
        if known["asked"] == asked:
            return known["result"]
    result = compute()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps({"asked": asked, "result": result}))
    unfinished.replace(path)  # who is stopped while writing leaves no half file
    return result
