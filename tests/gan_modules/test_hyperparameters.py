"""Arguments in the checkpoint, without a call in each variant."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gan_modules import NSGAN, WGANGP, GANModule
from gan_modules.hyperparameters import is_plain
from gan_modules.losses import Hinge
from gan_modules.rules import Alternating, Simultaneous


@pytest.mark.parametrize("value", [None, True, 1, 0.5, "x", torch.zeros(2), [1, (2.0, "a")], {"a": {"b": [None]}}])
def test_plain_values(value):
    assert is_plain(value)


@pytest.mark.parametrize("value", [object(), Hinge(), [Hinge()], {"a": len}, {1: 2}, torch.nn.Linear(1, 1), {1, 2}])
def test_values_that_only_code_can_rebuild(value):
    assert not is_plain(value)


def test_plain_arguments_of_the_leaf_are_hyperparameters(tiny):
    module = tiny(WGANGP, gp_weight=3.0, seed=7, gradient_clip_norm=0.5, ema_decay=0.9)
    expected = {"gp_weight": 3.0, "seed": 7, "gradient_clip_norm": 0.5, "ema_decay": 0.9, "num_classes": None}
    assert dict(module.hparams) == expected


def test_subclasses_need_no_call_of_their_own(tiny):
    class Mine(NSGAN):
        def __init__(self, generator, discriminator, temperature, scale=2.0, **kwargs):
            super().__init__(generator, discriminator, ema_decay=0.5, **kwargs)

    module = tiny(NSGAN)
    mine = Mine(module.generator, module.discriminator, 0.25, rule=Simultaneous(), gradient_clip_norm=1.0)
    # what the leaf was given: no default, and nothing that it hands on to its base
    assert dict(mine.hparams) == {"temperature": 0.25, "gradient_clip_norm": 1.0}
    assert mine._injected == ["discriminator", "generator", "rule"]


def test_arguments_by_position_and_by_name_are_the_same(tiny):
    module = tiny(NSGAN)
    players = {"generator": module.generator, "discriminator": module.discriminator}
    assert NSGAN(*players.values()).hparams == NSGAN(**players).hparams
    assert NSGAN(*players.values())._injected == NSGAN(**players)._injected


def test_no_variant_saves_for_itself(variant):
    assert "save_hyperparameters" not in variant.__init__.__code__.co_names


# --- loading from a checkpoint that Python wrote ---------------------------------------------------------------------


@pytest.fixture
def saved(tiny, fit, tmp_path):
    """A function (variant, ...) -> the path of a checkpoint of that GAN, trained."""

    def save(cls, **kwargs):
        fit(tiny(cls, **kwargs), 2).save_checkpoint(tmp_path / "x.ckpt")
        return tmp_path / "x.ckpt"

    return save


@pytest.fixture
def networks(tiny):
    """Networks like those of the checkpoint, untrained."""
    module = tiny(NSGAN)
    return {"generator": module.generator, "discriminator": module.discriminator}


def test_injected_parts_that_are_given_again_are_used(saved, networks):
    parts = {"rule": Alternating(2), "loss": Hinge(), "generator_optimizer": partial(torch.optim.SGD, lr=0.1)}
    loaded = GANModule.load_from_checkpoint(saved(GANModule, **parts), weights_only=True, **networks, **parts)
    assert loaded.generator is networks["generator"]
    assert loaded.draws == 2
    assert loaded.loss == Hinge()


@pytest.mark.parametrize("missing", [["rule"], ["generator_optimizer"], ["generator_optimizer", "rule"]], ids=str)
def test_injected_parts_that_are_missing_are_named(missing, saved, networks):
    parts = {"rule": Alternating(2), "generator_optimizer": partial(torch.optim.SGD, lr=0.1)}
    path = saved(NSGAN, **parts)
    parts = {name: part for name, part in parts.items() if name not in missing}
    named = ", ".join(rf"{name}=\.\.\." for name in missing)
    with pytest.raises(ValueError, match=rf"load_from_checkpoint\(path, {named}\)"):
        NSGAN.load_from_checkpoint(path, weights_only=True, **networks, **parts)


def test_plain_argument_that_is_given_again_wins(saved, networks):
    path = saved(NSGAN, gradient_clip_norm=0.25)
    assert NSGAN.load_from_checkpoint(path, **networks).gradient_clip_norm == 0.25
    assert NSGAN.load_from_checkpoint(path, gradient_clip_norm=4.0, **networks).gradient_clip_norm == 4.0
