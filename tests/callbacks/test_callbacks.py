"""What the callbacks log while a module trains."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from recipes import make, quiet_trainer, ring

from callbacks import RunSummary, SampleGrid, SampleMetrics
from callbacks.metrics import Pixels

pytestmark = pytest.mark.filterwarnings("ignore")
ONCE = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}


def test_pictures_and_the_closing_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    grid = SampleGrid()
    model = make("NSGAN")
    callbacks = [grid, SampleMetrics(Pixels(), n_samples=64), RunSummary()]
    quiet_trainer(callbacks=callbacks, default_root_dir=tmp_path, **ONCE).fit(model, ring())
    assert grid.path == tmp_path / "samples" / "000002.png"
    assert Image.open(grid.path).size == (500, 500)
    text = capsys.readouterr().out
    assert "NSGAN, 2 iterations" in text
    assert "wandb sync" not in text  # there is no such run
    assert "real-to-real floor" in text
    assert "samples/000002.png" in text
