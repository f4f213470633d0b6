"""The recipes on the pages train."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from recipes import quiet_trainer

from datamodules import DigitsDataModule
from gan_modules import NSGAN
from gan_modules.networks import MLPDiscriminator, MLPGenerator

PAGES = ("evaluation.md", "collapse_alarm.md")
SMALLER = {"n_samples": 100}


def built(item: Any) -> Any:
    if isinstance(item, list):
        return [built(part) for part in item]
    if not isinstance(item, dict):
        return item
    module, _, name = item["class_path"].rpartition(".")
    given = {key: SMALLER.get(key, built(value)) for key, value in item.get("init_args", {}).items()}
    return getattr(import_module(module), name)(**given)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("page", PAGES)
def test_the_callbacks_on_a_page_work_together(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs" / page).read_text()
    (recipe,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NSGAN(
            MLPGenerator((1, 8, 8), latent_dim=3, width=8), MLPDiscriminator((1, 8, 8), width=8), ema_decay=0.9
        )
    trainer = quiet_trainer(
        callbacks=built(yaml.safe_load(recipe)["trainer"]["callbacks"]), default_root_dir=tmp_path, max_steps=4,
        num_sanity_val_steps=0, check_val_every_n_epoch=None, val_check_interval=2, enable_checkpointing=True,
    )  # fmt: skip
    trainer.fit(model, DigitsDataModule(batch_size=8))
    assert {"fid", "collapse/alarm"} <= trainer.callback_metrics.keys()
