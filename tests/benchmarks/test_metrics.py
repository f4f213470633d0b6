"""The benchmark of metrics times ours against every package, which agree with exact values."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import metrics

SIZES = ["--samples", "300", "--few", "20", "--features", "32", "--batch", "70", "--repeats", "1"]


def test_every_installed_package_is_timed_and_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "alone", lambda work, *args: work(*args))  # a new process loads everything again
    monkeypatch.setattr("sys.argv", ["benchmarks.metrics", *SIZES, "--json", str(tmp_path / "out.json")])
    assert metrics.main() == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["samples"] == 300
    rows = {(row["case"], row["arm"]): row for row in record["rows"]}
    for case in metrics.GOALS:
        assert rows[case, "ours"]["ratio"] == [1, 1, 1]
        assert all(row["seconds"] > 0 for (of, _), row in rows.items() if of == case)
        if case.startswith("FID"):
            assert rows[case, "ours"]["error"] < 1e-7  # numpy's own: a zero eigenvalue of 1e-16 has a root of 1e-8
            assert all(row["error"] < 1e-4 for (of, _), row in rows.items() if of == case)
    kid = rows["KID", "ours"]
    assert kid["error"] < 5 * kid["values"]["kid_error"]
    assert rows["KID", "torchmetrics"]["error"] < 1e-5  # one subset of all
    if ("P/R/D/C", "prdc") in rows:
        assert rows["P/R/D/C", "ours"]["error"] < 1e-5


def test_what_is_not_installed_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(name: str, *args: Any) -> Any:
        return None if name in ("prdc", "cleanfid") else importlib.util.find_spec(name, *args)

    monkeypatch.setattr(metrics, "find_spec", without)
    monkeypatch.setattr("sys.argv", ["benchmarks.metrics", *SIZES, "--cases", "FID", "--json", str(tmp_path / "out")])
    assert metrics.main() == 0
    out = capsys.readouterr().out
    assert "prdc is not installed" in out
    assert "clean-fid is not installed" in out
    record = json.loads((tmp_path / "out").read_text())
    assert [row["arm"] for row in record["rows"]] == ["ours", "torchmetrics", "torch-fidelity"]
    assert "prdc" not in record
