"""The page "Bring your own data": every block of code does what the page says."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from data_recipes import image_files

from gan_modules.cli import main

PAGE = (ROOT / "docs" / "your_own_data.md").read_text()
BLOCKS = re.findall(r"```(python|yaml)\n(.*?)```", PAGE, re.DOTALL)
FOLDER, ARRAYS, SPIRAL, SVHN, WHITENING, WORKERS = [text for _, text in BLOCKS]
pytestmark = pytest.mark.filterwarnings("ignore")


def run(block):
    names = {}
    exec(compile(block, "your_own_data.md", "exec"), names)
    return names


@pytest.mark.parametrize("whitening", ["", WHITENING], ids=["as it is", "with the two lines more"])
def test_ten_lines_of_yaml_train_on_a_folder(whitening, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(image_files() / "folder", tmp_path / "images")
    assert len(FOLDER.strip().splitlines()) == 10
    assert len(WHITENING.strip().splitlines()) == 2
    recipe = yaml.safe_load((ROOT / "configs" / "folder" / "r3gan.yaml").read_text())
    for player in ("generator", "discriminator"):
        recipe["model"]["init_args"][player]["init_args"] |= {"shape": [3, 8, 8], "width": 8}
    recipe["trainer"]["callbacks"] = []
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "my_images.yaml").write_text(FOLDER.replace("size: 32", "size: 8", 1) + whitening)
    main(["fit", "--config", "recipe.yaml", "--config", "my_images.yaml", "--data.epoch_iterations=2", "--wandb=off",
          "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])  # fmt: skip
    shutil.rmtree(tmp_path / "images")  # a checkpoint samples without the data
    main(["sample", "--ckpt_path", "runs/folder-r3gan", "--n", "3", "--out", "samples.npz"])
    assert np.load("samples.npz")["samples"].shape == (3, 3, 8, 8)


def test_ten_lines_of_python_train_on_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (80, 8, 8), np.uint8))
    assert len(re.findall(r"^\S", ARRAYS, re.MULTILINE)) <= 10
    names = run(ARRAYS.replace("max_steps=1000", "max_steps=2, accelerator='cpu', logger=False, max_epochs=1"))
    assert names["data"].shape == (1, 8, 8)
    assert names["model"].sample(3).shape == (3, 1, 8, 8)


def test_a_class_with_a_load_of_its_own():
    data = run(SPIRAL)["Spiral"](batch_size=4)
    data.setup("fit")
    assert data.train_dataloader().batch(0)[0].shape == (4, 2)


def test_a_data_set_by_class_path_reads_nothing_before_it_is_asked():
    assert run(SVHN)["data"].shape == (3, 32, 32)


def test_a_data_set_that_workers_read():
    data = run(WORKERS)["TooLarge"](batch_size=4, num_workers=0)
    data.setup("fit")
    real, labels = data.train_dataloader().batch(0)
    assert (real.shape, real.dtype, labels.shape) == ((4, 3, 8, 8), torch.float32, (4,))


def test_every_option_that_the_page_names_is_one():
    from datamodules import ArrayDataModule, ImageFolderDataModule

    for cls, options in (
        (ImageFolderDataModule, {"labels": False, "channels": 1, "size": None, "classes": [3, 5], "crop": 4}),
        (ArrayDataModule, {"layout": "HWC", "keys": {"train": ["x_train", "y_train"]}, "path": "faces.npz"}),
    ):
        folder = {"root": "images"} if cls is ImageFolderDataModule else {}
        cls(**folder, **options, batch_size=1, on_device=False)
        assert all(f"{name}" in PAGE for name in options)
