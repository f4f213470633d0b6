"""Arguments in the checkpoint, without a call in each variant."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from gan_modules import NSGAN, WGANGP, GameModule, GANModule
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
    expected = {"gp_weight": 3.0, "gradient_clip_norm": 0.5, "ema_decay": 0.9, "num_classes": None}
    assert dict(module.hparams) == expected | ({"seed": 7} if "seed" in module.hparams else {})


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


# --- loading from a checkpoint that Python wrote ---------------------------------------------------------------------


@pytest.fixture
def saved(tiny, fit, tmp_path):
    """A function (variant, ...) -> (trained module, path of its checkpoint)."""

    def save(cls, **kwargs):
        module = tiny(cls, **kwargs)
        trainer = fit(module, 2)
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        return module, tmp_path / "x.ckpt"

    return save


def test_every_variant_loads_with_its_networks_given_again(variant, tiny, saved):
    module, path = saved(variant, gradient_clip_norm=0.25)
    fresh = tiny(variant, seed=1)
    networks = {"generator": fresh.generator, "discriminator": fresh.discriminator}
    assert not torch.equal(fresh.sample(5), module.sample(5))
    loaded = variant.load_from_checkpoint(path, weights_only=True, **networks)
    assert loaded.gradient_clip_norm == 0.25
    assert loaded.generator is fresh.generator
    assert torch.equal(loaded.sample(5), module.sample(5))
    assert torch.equal(loaded.sample(5, ema=False), module.sample(5, ema=False))


def test_injected_parts_that_are_given_again_are_used(tiny, saved):
    parts = {"rule": Alternating(2), "loss": Hinge(), "generator_optimizer": partial(torch.optim.SGD, lr=0.1)}
    _, path = saved(GANModule, **parts)
    fresh = tiny(NSGAN)
    networks = {"generator": fresh.generator, "discriminator": fresh.discriminator}
    loaded = GANModule.load_from_checkpoint(path, weights_only=True, **networks, **parts)
    assert loaded.draws == 2
    assert loaded.loss == Hinge()


@pytest.mark.parametrize("missing", ["rule", "generator_optimizer"])
def test_injected_part_that_is_missing_is_named(missing, tiny, saved):
    parts = {"rule": Alternating(2), "generator_optimizer": partial(torch.optim.SGD, lr=0.1)}
    _, path = saved(NSGAN, **parts)
    fresh = tiny(NSGAN)
    networks = {"generator": fresh.generator, "discriminator": fresh.discriminator}
    del parts[missing]
    with pytest.raises(ValueError, match=rf"load_from_checkpoint\(path, {missing}=\.\.\.\)"):
        NSGAN.load_from_checkpoint(path, weights_only=True, **networks, **parts)


def test_plain_argument_that_is_given_again_wins(tiny, saved):
    _, path = saved(NSGAN, gradient_clip_norm=0.25)
    fresh = tiny(NSGAN)
    networks = {"generator": fresh.generator, "discriminator": fresh.discriminator}
    assert NSGAN.load_from_checkpoint(path, gradient_clip_norm=4.0, **networks).gradient_clip_norm == 4.0


def test_no_variant_defines_a_loop_or_saves_for_itself(variant):
    assert variant.training_step is GameModule.training_step
    assert "save_hyperparameters" not in variant.__init__.__code__.co_names
