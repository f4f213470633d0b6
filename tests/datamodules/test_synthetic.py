"""Data sets of known distribution from a command line."""

from __future__ import annotations

import io

import pytest
import torch
from jsonargparse import ArgumentParser

from datamodules import GANDataModule

LINES = {
    "GridDataModule": ["side=3", "dimension=3", "std=0.2"],
    "GaussianDataModule": ["spectrum=[1, 0.25]", "rotate=false"],
    "GaussianMixtureDataModule": ["modes=3", "weights=[1, 2, 3]", "condition_number=4"],
    "OverlappingMixtureDataModule": ["overlap=0.3", "arrangement=line"],
}


@pytest.mark.parametrize(("name", "options"), LINES.items(), ids=LINES.keys())
def test_a_command_line_builds_it_and_a_checkpoint_keeps_its_arguments(name, options):
    parser = ArgumentParser()
    parser.add_subclass_arguments(GANDataModule, "data")
    arguments = [f"--data={name}", "--data.batch_size=4", *[f"--data.{option}" for option in options]]
    module = parser.instantiate(parser.parse_args(arguments)).data
    file = io.BytesIO()
    torch.save(dict(module.hparams), file)
    file.seek(0)
    again = type(module)(**torch.load(file, weights_only=True))
    for part in ("means", "std", "weights"):
        assert torch.equal(getattr(again.truth, part), getattr(module.truth, part))
    assert again.shape == module.shape
    if name == "GaussianDataModule":
        assert torch.allclose(module.truth.std[0], torch.tensor([1.0, 0.5]).double().diag())
    if name == "GaussianMixtureDataModule":
        assert torch.allclose(module.truth.weights, torch.tensor([1.0, 2.0, 3.0]).double() / 6)
