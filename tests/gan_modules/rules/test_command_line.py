"""A rule is chosen on the command line, on a recipe as it stands."""

from __future__ import annotations

import pytest
import torch
import yaml
from conftest import ROOT

from gan_modules.cli import main

SHORT = (
    "fit", "--config", ROOT / "configs/ring/r3gan.yaml", "--wandb", "off", "--data.batch_size", 16,
    "--data.epoch_iterations", 4, "--trainer.max_epochs", 1, "--trainer.enable_progress_bar", "false",
)  # fmt: skip


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A function (arguments) -> the rule in the configuration that the run wrote down, and its last checkpoint."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        main([*map(str, SHORT), *map(str, arguments)])
        config = yaml.safe_load((tmp_path / "runs/ring-r3gan/config.yaml").read_text())
        saved = torch.load(tmp_path / "runs/ring-r3gan/checkpoints/last.ckpt", weights_only=True)
        assert saved["global_step"] == 4
        return config["model"]["init_args"]["rule"], saved

    return run


@pytest.mark.filterwarnings("ignore")
def test_a_recipe_runs_by_another_rule(trained):
    rule, _ = trained("--model.rule", "gan_modules.rules.Extragradient")
    assert rule["class_path"] == "gan_modules.rules.Extragradient"


@pytest.mark.filterwarnings("ignore")
def test_a_rule_around_another_takes_its_arguments(trained):
    rule, saved = trained(
        "--model.rule", "gan_modules.rules.Lookahead", "--model.rule.init_args.k", 3,
        "--model.rule.init_args.rule", "gan_modules.rules.Simultaneous",
    )  # fmt: skip
    assert rule["init_args"]["rule"]["class_path"] == "gan_modules.rules.Simultaneous"
    assert saved["rule_state"]["count"] == 1  # four iterations, modulo three
