"""The benchmark of loading runs, and its arms hand out batches of one kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import loading


def test_every_arm_is_timed_against_both_loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "REST", 0.0)
    sizes = ["--rows", "64", "--side", "8", "--batch_size", "8", "--workers", "1", "--batches", "2", "--repeats", "2"]
    monkeypatch.setattr("sys.argv", ["benchmarks.loading", *sizes, "--out", str(tmp_path / "out.json")])
    loading.main()
    record = json.loads((tmp_path / "out.json").read_text())
    assert next(row["arm"] for row in record["rows"]) == "from memory"
    assert all(row["ms"][0] > 0 for row in record["rows"])
    (reference,) = (row for row in record["rows"] if row["arm"] == "DataLoader, tensor")
    assert reference["DataLoader, tensor"] == [1, 1, 1]


def test_the_arms_hand_out_the_same_kind_of_batch() -> None:
    images = torch.arange(64 * 3 * 16).remainder(256).reshape(64, 3, 4, 4).to(torch.uint8)
    ours, _ = next(loading.stream(loading.InMemory(images), 8))
    tensor = next(loading.loader(loading.Indexed(images), 8, 1))
    pictures = next(loading.loader(loading.Pictures(images), 8, 1))
    assert ours.shape == tensor.shape == pictures.shape == (8, 3, 4, 4)
    assert ours.dtype == tensor.dtype == pictures.dtype
    assert min(x.min() for x in (ours, tensor, pictures)) >= 0
    assert max(x.max() for x in (ours, tensor, pictures)) <= 1
