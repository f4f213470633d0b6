"""Games are played in training space, whatever its shape; what users get is in data space."""

from __future__ import annotations

import numpy as np
import pytest

from datamodules import DigitsDataModule
from datamodules.whitening import FourierWhitening, PCAWhitening, ZCAWhitening
from gan_modules import NSGAN
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.trainer import GameTrainer


def play(whitening, tmp_path):
    """A run of two iterations, its checkpoint, and the networks' shape."""
    data = DigitsDataModule(batch_size=8, whitening=whitening)
    shape = data.training_shape
    model = NSGAN(generator=MLPGenerator(shape, width=4), discriminator=MLPDiscriminator(shape, width=4))
    trainer = GameTrainer(
        max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        accelerator="cpu", devices=1, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    trainer.save_checkpoint(tmp_path / "played.ckpt")
    return trainer, model, shape


@pytest.mark.parametrize("whitening", [ZCAWhitening, FourierWhitening, PCAWhitening, lambda: PCAWhitening(rank=7)],
                         ids=["ZCA", "Fourier", "PCA", "PCA of rank 7"])  # fmt: skip
def test_samples_of_a_checkpoint_are_in_data_space_without_data(whitening, tmp_path, monkeypatch):
    trainer, model, shape = play(whitening(), tmp_path)
    monkeypatch.setattr(DigitsDataModule, "load", lambda self, split: pytest.fail("data was read"))
    fresh = DigitsDataModule(batch_size=8, whitening=whitening())
    trainer.sample(model, fresh, ckpt_path=str(tmp_path / "played.ckpt"), n=5, out=str(tmp_path / "samples.npz"))
    samples = np.load(tmp_path / "samples.npz")["samples"]
    assert samples.shape == (5, 1, 8, 8)
    assert model.sample(5).shape == (5, *shape)
    assert np.allclose(samples, fresh.decode(model.sample(5, seed=0)).numpy(), atol=1e-6)
