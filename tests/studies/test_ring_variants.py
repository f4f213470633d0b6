"""The table of variants on the ring: what it judges, and that its runs are kept and go on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ROOT

from studies import command_line, ring_variants
from studies.harness import Run
from studies.ring_variants import COVER, EVEN, RECIPES, RingVariants


@pytest.fixture
def trained(monkeypatch):
    """A function (modes found by seed) that stands in for training; the list of what was asked for."""

    def stand_in(modes, kl=0.01):
        asked = []

        def fit(recipe, root, *args):
            asked.append((recipe.stem, args))
            found = float(modes(int(args[args.index("--seed_everything") + 1])))
            divergence = kl if recipe.stem in EVEN else 0.4
            return {"modes": found, "high_quality": 0.9, "mode_kl": divergence, "fid": 0.1, "seconds": 1.0}

        monkeypatch.setattr(ring_variants, "fit", fit)
        monkeypatch.setattr(ring_variants, "sampled", lambda root: np.zeros((5, 2)))
        return asked

    return stand_in


@pytest.mark.parametrize(
    ("modes", "kl", "holds"),
    [(lambda seed: 8, 0.01, True), (lambda seed: 8 - (seed == 2), 0.01, False), (lambda seed: 8, 0.06, False)],
)
def test_a_lost_mode_of_one_seed_or_uneven_modes_fail_the_claim(modes, kl, holds, trained, tmp_path):
    asked = trained(modes, kl)
    study = RingVariants(seeds=3)
    findings = study.measure(Run(tmp_path))
    assert findings.holds == holds
    assert {name for name, _ in asked} == set(RECIPES)
    assert len(asked) == 3 * len(RECIPES)
    assert set(COVER) <= set(RECIPES)
    assert study.figure(findings).axes


def test_the_papers_networks_come_with_it_where_they_are_asked_for(trained, tmp_path):
    asked = trained(lambda seed: 8)
    RingVariants(seeds=1, only=("r3gan",), paper=True, arguments=("--data.std", "0.05")).measure(Run(tmp_path))
    assert [name for name, _ in asked] == ["r3gan", "nsgan", "pac_gan", "r3gan"]
    assert ["--data.std" in args for _, args in asked] == [True, False, False, False]


def test_an_unknown_recipe_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no recipes \['ring'\]; there are .*r3gan"):
        RingVariants(only=("ring",)).measure(Run(tmp_path))


def test_runs_are_kept_go_on_and_start_anew_with_another_recipe(monkeypatch, tmp_path):
    commands = []

    def command(*args):
        commands.append([str(arg) for arg in args])
        root = tmp_path / "run"
        (root / "metrics" / "version_0").mkdir(parents=True, exist_ok=True)
        (root / "metrics" / "version_0" / "metrics.csv").write_text("fid,modes\n3.0,\n2.0,7\n")
        (root / "checkpoints").mkdir(exist_ok=True)
        (root / "checkpoints" / "last.ckpt").touch()
        if len(commands) == 1:
            raise RuntimeError("killed")

    monkeypatch.setattr(command_line, "command", command)
    recipe = ROOT / "configs" / "ring" / "r3gan.yaml"
    with pytest.raises(RuntimeError, match="killed"):
        command_line.fit(recipe, tmp_path / "run", "--seed_everything", 1)
    logged = command_line.fit(recipe, tmp_path / "run", "--seed_everything", 1)
    assert (logged["fid"], logged["modes"]) == (2.0, 7.0)
    assert command_line.fit(recipe, tmp_path / "run", "--seed_everything", 1) == logged  # kept
    command_line.fit(recipe, tmp_path / "run", "--seed_everything", 2)
    assert ["--ckpt_path" in args for args in commands] == [False, True, False]
    assert json.loads((tmp_path / "run.json").read_text())["asked"]["args"] == ["--seed_everything", "2"]


@pytest.mark.slow
def test_a_recipe_is_trained_and_sampled(tmp_path):
    short = ("--data.epoch_iterations", "20", "--trainer.max_epochs", "1")
    findings = RingVariants(seeds=1, only=("nsgan",), arguments=short).measure(Run(tmp_path))
    measured, samples = findings.data
    assert 0 <= measured["nsgan"]["modes"][0] <= 8
    assert samples["nsgan"].shape == (1000, 2)
