"""What the callbacks log while a module trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from PIL import Image
from recipes import make, quiet_trainer, ring
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.image.fid import FrechetInceptionDistance

from callbacks import RunSummary, SampleGrid, SampleMetrics, WeightSpectrum
from callbacks.metrics import Pixels
from datamodules.whitening import ZCAWhitening

pytestmark = pytest.mark.filterwarnings("ignore")
ONCE = {"num_sanity_val_steps": 0, "check_val_every_n_epoch": None, "val_check_interval": 2}


def test_fid_is_the_librarys_on_decoded_samples_and_held_out_data() -> None:
    model, data = make("NSGAN"), ring(whitening=ZCAWhitening())
    trainer = quiet_trainer(callbacks=[SampleMetrics(Pixels(), n_samples=150)], **ONCE)
    trainer.fit(model, data)

    class Features(nn.Module):
        num_features = 2

        def forward(self, x: Tensor) -> Tensor:
            return x

    oracle = FrechetInceptionDistance(Features()).set_dtype(torch.float64)
    oracle.inception.num_features = 2
    real = torch.cat([data.decode(r) for r, *_ in data.reals("val")])
    for images, is_real in ((real, True), (data.decode(model.sample(150, seed=0)), False)):
        oracle.update(images.double(), real=is_real)
    assert float(trainer.logged_metrics["fid"]) == pytest.approx(float(oracle.compute()), rel=1e-4)


def test_modes_are_the_data_modules_truth_and_the_floor_is_low() -> None:
    model, data = make("NSGAN"), ring(train_size=400, val_size=400)
    trainer = quiet_trainer(callbacks=[SampleMetrics(Pixels(), n_samples=400)], **ONCE)
    trainer.fit(model, data)
    logged = trainer.logged_metrics
    inside = data.truth.assign(data.decode(model.sample(400, seed=0)))
    assert float(logged["high_quality"]) == pytest.approx(float((inside >= 0).double().mean()))
    assert float(logged["modes"]) == len(inside[inside >= 0].unique())
    assert float(logged["fid_floor"]) < 0.1 * float(logged["fid"])
    assert float(logged["fid_untrained"]) > 0


def test_metrics_need_a_sampler() -> None:
    class NoSampler(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return self.layer(batch[0]).sum()

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    loader = DataLoader(TensorDataset(torch.randn(8, 2)), batch_size=4)
    for callback in (SampleMetrics(Pixels()), WeightSpectrum(), SampleGrid()):
        with pytest.raises(TypeError, match="NoSampler"):
            quiet_trainer(callbacks=[callback]).fit(NoSampler(), loader, loader)
    with pytest.raises(ValueError, match="n_samples=1"):
        SampleMetrics(Pixels(), n_samples=1)


def test_spectra_are_those_of_the_weights() -> None:
    model = make("R3GAN")
    trainer = quiet_trainer(callbacks=[WeightSpectrum(k=2)], **ONCE)
    trainer.fit(model, ring())
    logged = {k: float(v) for k, v in trainer.logged_metrics.items() if k.startswith("sigma/")}
    linear = {f"sigma/{name}": m for name, m in model.named_modules() if isinstance(m, nn.Linear) and "ema" not in name}
    assert {name.removesuffix("/2") for name in logged} == set(linear)
    for name, layer in linear.items():
        values = torch.linalg.svdvals(layer.weight)
        assert logged[name] == pytest.approx(float(values[0]), rel=1e-3)
        if len(values) > 1:
            assert logged[f"{name}/2"] == pytest.approx(float(values[1]), rel=1e-3)


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
