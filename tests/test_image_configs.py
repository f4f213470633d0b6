"""Every recipe for images of files runs with smaller networks, most on smaller images; CIFAR-10's are the papers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from data_recipes import image_files
from fake_torchvision import fake_torchvision
from torch import nn

import gan_modules.networks
from gan_modules.cli import main

RECIPES = [
    path for folder in ("cifar10", "mnist", "folder") for path in sorted((ROOT / "configs" / folder).glob("*.yaml"))
]
each_recipe = pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}/{p.name}")
each_paper = pytest.mark.parametrize("path", [p for p in RECIPES if p.parent.name == "cifar10"], ids=lambda p: p.name)


def small(recipe: dict[str, Any], side: int) -> list[str]:
    """The recipe on few images of this side."""
    networks = {player: recipe["model"]["init_args"][player] for player in ("generator", "discriminator")}
    recipe["trainer"]["callbacks"][0]["init_args"]["n_samples"] = 60
    if "size" in recipe["data"]["init_args"]:
        recipe["data"]["init_args"] |= {"size": side, "root": str(image_files() / "folder")}
    for network in networks.values():
        network["init_args"] |= {"shape": [network["init_args"]["shape"][0], side, side], "width": 8}
    return ["--config", yaml.safe_dump(recipe), "--data.batch_size=4", "--data.epoch_iterations=2",
            "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@each_recipe
def test_a_recipe_trains_and_validates(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    side = 28 if path.parent.name == "mnist" else 8  # MNIST's extractor takes no other
    fake_torchvision(monkeypatch, side=side)
    recipe = yaml.safe_load(path.read_text())
    main(["fit", *small(recipe, side), "--wandb=off"])
    (root,) = (tmp_path / "runs").iterdir()
    checkpoint = torch.load(root / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert set(checkpoint[recipe["data"]["class_path"].split(".")[-1]]["whitening"]) == {"low", "high"}
    assert list(root.glob("samples/*.png"))
    header, *rows = (root / "metrics/version_0/metrics.csv").read_text().splitlines()
    assert "fid" in header.split(",")
    assert rows


@each_recipe
def test_schedules_end_where_training_ends(path: Path) -> None:
    recipe = yaml.safe_load(path.read_text())
    iterations = recipe["data"]["init_args"]["epoch_iterations"] * recipe["trainer"]["max_epochs"]
    for name, schedule in recipe["model"]["init_args"].items():
        if name.endswith("_scheduler"):
            (length,) = {"total_iters", "T_max"} & set(schedule["init_args"])
            assert schedule["init_args"][length] == iterations


def network(path: Path, player: str) -> nn.Module:
    """The player of the recipe as it stands, without memory for its weights."""
    part = yaml.safe_load(path.read_text())["model"]["init_args"][player]
    with torch.device("meta"):
        made: nn.Module = getattr(gan_modules.networks, part["class_path"].split(".")[-1])(**part["init_args"])
    return made


def resnet(generator: int, discriminator: int) -> tuple[int, int]:
    """Parameters of SNGAN's table 3 with these widths; WGAN-GP's networks are of the same form."""
    w = generator
    block = 2 * (2 * w) + 2 * (w * w * 9) + w * w  # no biases ahead of a normalisation
    g = (128 + 1) * 4 * 4 * w + 3 * block + 2 * w + (w * 3 * 9 + 3)
    w = discriminator
    conv, first = w * w * 9 + w, (3 * w * 9 + w) + (3 * w + w)  # of the first block its own
    d = first + conv + (2 * conv + w * w + w) + 2 * (2 * conv) + (w + 1)
    return g, d


def r3gan(width: int, latent_dim: int, classes: int) -> tuple[int, int]:
    """Parameters of R3GAN's Config E for CIFAR-10: two blocks in each of four stages, groups of 16 channels."""
    w, wide = width, 2 * width
    body = 8 * (w * wide + wide + wide * 16 * 9 + wide + wide * w)
    g = classes * latent_dim + w * 4 * 4 + 2 * latent_dim * w + body + w * 3
    d = 3 * w + body + w * 4 * 4 + w * w + classes * w
    return g, d


PAPERS = {
    "wgan_gp": resnet(128, 128),
    "sngan": resnet(256, 128),
    "r1_gan": resnet(256, 128),
    "r3gan": r3gan(768, 64, 10),
}


@each_paper
def test_networks_have_the_parameters_of_the_papers(path: Path) -> None:
    for player, count in zip(("generator", "discriminator"), PAPERS[path.stem], strict=True):
        made = network(path, player)
        assert sum(p.numel() for p in made.parameters()) == count, player
        assert made.shape == (3, 32, 32)
