"""What every variant in ``gan_modules.__all__`` keeps: a new one is tested by existing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recipes import VARIANTS, latents_on_ranks, make, parameters, parts, quiet_trainer, ring, trained_on_ranks
from workers import GlooPool

import gan_modules
from gan_modules.rules import Alternating, Simultaneous

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("rule", [None, Simultaneous(), Alternating(3)], ids=["default", "simultaneous", "n_critic=3"])
@pytest.mark.parametrize("name", VARIANTS)
def test_two_iterations_move_both_players_and_count_two(name: str, rule: object) -> None:
    model = make(name, rule=rule)
    before = parameters(model)
    trainer = quiet_trainer()
    trainer.fit(model, ring())
    after = parameters(model)
    assert trainer.global_step == 2
    assert all(value.isfinite().all() for value in after.values())
    for player in ("generator.", "discriminator.", "generator_ema."):
        assert any(not torch.equal(before[n], after[n]) for n in after if n.startswith(player)), player
    logged = trainer.logged_metrics
    assert {"loss/generator", "loss/discriminator", "grad_norm/generator", "grad_norm/discriminator"} <= logged.keys()
    assert all(torch.isfinite(torch.as_tensor(value)) for value in logged.values())


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_follow_the_gradients_of_one_on_the_joined_batch(name: str, gloo: GlooPool) -> None:
    alone = trained_on_ranks(0, 1, name)
    first, second = gloo(trained_on_ranks, name)
    for parameter, expected in alone.items():
        torch.testing.assert_close(first[parameter], expected, rtol=1e-9, atol=1e-11, msg=parameter)
        assert torch.equal(first[parameter], second[parameter]), parameter


def test_processes_see_different_latents_that_are_the_rows_of_one_process(gloo: GlooPool) -> None:
    first, second = gloo(latents_on_ranks)
    assert not torch.equal(first, second)
    assert torch.equal(torch.cat([first, second]), latents_on_ranks(0, 1))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_module_loads_equal(name: str, tmp_path: Path) -> None:
    model = make(name, ema_decay=0.9)
    trainer = quiet_trainer()
    trainer.fit(model, ring())
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    again = type(model).load_from_checkpoint(tmp_path / "c.ckpt", weights_only=True, **parts(name))
    assert again.ema_decay == 0.9
    for (key, value), other in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(value, other), key
    assert torch.equal(model.sample(5), again.sample(5))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_a_composition_and_writes_no_loop(name: str) -> None:
    cls = getattr(gan_modules, name)
    assert "training_step" not in vars(cls)
    assert cls.training_step is gan_modules.GameModule.training_step


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_seed_gives_the_same_run_and_leaves_the_global_generator_alone(name: str) -> None:
    runs = []
    for _ in range(2):
        model = make(name, seed=3)
        data = ring()
        before = torch.random.get_rng_state()
        quiet_trainer(num_sanity_val_steps=0, limit_val_batches=0).fit(model, data)
        assert torch.equal(torch.random.get_rng_state(), before)
        runs.append(parameters(model))
    for key, value in runs[0].items():
        assert torch.equal(value, runs[1][key]), key
