"""Reads what an offline W&B run recorded: a LevelDB-style log of protobuf records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32 * 1024
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[bytes]:
    """The payloads: after 7 bytes of header, blocks of 32 KiB hold pieces with a header of 7 (crc, length, type)."""
    data, position, pieces = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if _BLOCK - position % _BLOCK < 7:
            position += _BLOCK - position % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += 7
        pieces += data[position : position + length]
        position += length
        if kind in (_FULL, _LAST):
            yield pieces
            pieces = b""


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The run's history, a dict of what was logged for each record of it, and its configuration."""
    from wandb.proto.wandb_internal_pb2 import Record

    history: list[dict[str, Any]] = []
    config: dict[str, Any] = {}
    for payload in records(path):
        record = Record()
        record.ParseFromString(payload)
        if record.history.item:
            items = record.history.item
            history.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
    return history, config
