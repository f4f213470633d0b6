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


def read(path: Path) -> tuple[set[str], dict[str, Any]]:
    """The keys of the run's history, and its configuration."""
    from wandb.proto.wandb_internal_pb2 import Record

    keys: set[str] = set()
    config: dict[str, Any] = {}
    for payload in records(path):
        record = Record()
        record.ParseFromString(payload)
        for item in record.history.item:
            keys.add(item.key or "/".join(item.nested_key))
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
    return keys, config
