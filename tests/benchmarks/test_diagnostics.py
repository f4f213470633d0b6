"""The benchmark of diagnostics times every one that is exported, alone and with the others, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer

import callbacks
from benchmarks import diagnostics

pytestmark = pytest.mark.filterwarnings("ignore")


class Slow(callbacks.Diagnostic):
    """Looks that take known time."""

    prefix = "slow"

    def __init__(self) -> None:
        super().__init__(budget=None)

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        time.sleep(0.1)
        return {"slow/looked": 1.0}


class Busy(Callback):
    """Work at every validation that is nobody's cost here, and in every iteration, which is training."""

    def on_validation_epoch_end(self, *args: Any) -> None:
        time.sleep(0.2)

    def on_train_batch_end(self, *args: Any) -> None:
        time.sleep(0.02)


def test_a_share_is_of_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "diagnostics", lambda: {"Slow": Slow})
    plain = diagnostics.trainer

    def busy(root: str, epochs: int, chosen: list[Callback]) -> Trainer:
        return plain(root, epochs, [*chosen[:-1], Busy(), chosen[-1]])

    monkeypatch.setattr(diagnostics, "trainer", busy)
    found = diagnostics.run("quickstart", "Slow", epochs=2, epoch_iterations=10)
    assert 0.2 <= found["shares"]["Slow"] * found["training"] < 0.4  # two looks, on a machine that may be busy
    assert found["training"] > 0.4  # 20 iterations of 20 ms and more
    assert found["shares"].keys() == {"Slow"}
    assert found["left_out"] == {"Slow": 0}
    assert 0.1 <= found["seconds"]["Slow"] < 0.2


def test_all_that_is_exported_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GradientHealth", "WeightSpectrum"):
        assert name in diagnostics.arms()
    out = tmp_path / "out.json"
    small = ["--cases", "quickstart", "--arms", "all", "--epochs", "1", "--epoch_iterations", "3"]
    monkeypatch.setattr("sys.argv", ["benchmarks.diagnostics", *small, "--json", str(out)])
    diagnostics.main()
    record = json.loads(out.read_text())
    (row,) = record["rows"]
    assert set(row["parts"]) == {*diagnostics.diagnostics(), "PowerSpectrum"}
    assert row["share"][0] == pytest.approx(sum(row["parts"].values()))
    assert record["epoch_iterations"] == 3
