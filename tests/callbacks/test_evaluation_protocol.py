"""What makes two values comparable."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from callbacks.evaluation_protocol import DataDigest, EvaluationProtocol

PROTOCOL = EvaluationProtocol("digits", "abc", "none", (0.0, 1.0), "val", "0123", 300, 1000)
ROWS = torch.rand(50, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def digest(rows: torch.Tensor, *shares: torch.Tensor) -> str:
    data = DataDigest()
    for index in shares or (torch.arange(len(rows)),):
        data.see(rows[index], index)
    return str(data)


@pytest.mark.parametrize("field", [field.name for field in fields(EvaluationProtocol)])
def test_the_hash_changes_with_every_part(field: str) -> None:
    changed: dict[str, Any] = {"value_range": None, "n_real": 301, "n_generated": 999, "metrics": {"A": {"k": 9}}}
    assert replace(PROTOCOL, **{field: changed.get(field, "other")}).hash != PROTOCOL.hash
    assert replace(PROTOCOL).hash == PROTOCOL.hash
    assert PROTOCOL.hash in str(PROTOCOL)


def test_the_digest_is_of_the_data_and_not_of_batches_or_processes() -> None:
    assert digest(ROWS, *torch.arange(50).split(7)) == digest(ROWS)
    assert digest(ROWS, torch.arange(1, 50, 2), torch.arange(0, 50, 2)) == digest(ROWS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.uint8, torch.bool])
def test_rows_of_any_kind_have_a_digest(dtype: torch.dtype) -> None:
    other = ROWS.clone()
    other[3] = 1 - other[3].round()
    assert digest(ROWS.round().to(dtype)) != digest(other.round().to(dtype))


@pytest.mark.parametrize("change", ["a bit", "order", "a row less", "shape", "dtype"])
def test_the_digest_changes_with_the_data(change: str) -> None:
    bit = ROWS.clone()
    bit[31, 0, 2, 1] = torch.nextafter(bit[31, 0, 2, 1], torch.tensor(2.0))
    other = {
        "a bit": bit,
        "order": ROWS.flip(0),
        "a row less": ROWS[:-1],
        "shape": ROWS.view(50, 16),
        "dtype": ROWS.view(torch.int32),
    }
    assert digest(other[change]) != digest(ROWS)
