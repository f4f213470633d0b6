"""The training loop: counted in iterations, reproducible, and stopped where it makes no sense."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR

from gan_modules import NSGAN, R3GAN, WGANGP, ConditionalGAN, NonFiniteError
from gan_modules.dynamics import Play
from gan_modules.protocols import PLAYER_NAMES
from gan_modules.rules import Alternating, Simultaneous

SGD = partial(torch.optim.SGD, lr=0.1)
RULES = [Simultaneous(), *map(Alternating, (1, 2, 3))]
NAN = float("nan")


def normal(n, rows=4):
    return list(torch.randn(n, rows, 2, generator=torch.Generator().manual_seed(2)))


# --- an iteration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_global_step_counts_iterations(rule, tiny, fit):
    steps = []
    fit(tiny(NSGAN, rule=rule), 3, after=lambda t: steps.append(t.global_step))
    assert steps == [1, 2, 3]
    assert fit(tiny(NSGAN, rule=rule), 5, max_steps=2).global_step == 2


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("decays", [(0.5, 0.1), (0.5, None), (None, 0.1)], ids=["both", "generator", "discriminator"])
def test_schedules_step_once_an_iteration(rule, decays, tiny, fit):
    names = [f"{player}_scheduler" for player in PLAYER_NAMES]
    schedules = {name: partial(ExponentialLR, gamma=d) for name, d in zip(names, decays, strict=True) if d}
    module = tiny(NSGAN, rule=rule, generator_optimizer=SGD, discriminator_optimizer=SGD, **schedules)
    rates = []
    fit(module, 3, after=lambda t: rates.append([o.param_groups[0]["lr"] for o in t.optimizers]))
    for t, found in enumerate(rates, 1):
        assert found == pytest.approx([0.1 * (d or 1) ** t for d in decays])


def test_batch_is_cut_into_the_draws_of_the_rule(tiny, fit):
    seen = []

    class Recorder(Alternating):
        def step(self, game, optimizers, draw, state):
            seen.extend(draw(k) for k in range(self.draws))
            return super().step(game, optimizers, draw, state)

    data = normal(2, rows=12)
    fit(tiny(NSGAN, rule=Recorder(3), seed=5), data)
    assert torch.equal(torch.stack([batch.real for batch in seen]).flatten(0, 1), torch.cat(data))
    assert [batch.index for batch in seen] == list(range(6))  # lazy penalties count by it
    assert len({batch.z.sum().item() for batch in seen}) == 6
    assert {len(batch.z) for batch in seen} == {4}


def test_draw_is_the_same_batch_however_often_it_is_asked_for(tiny, fit):
    latents = []

    class Twice(Simultaneous):
        def step(self, game, optimizers, draw, state):
            latents.append([draw(0).z, draw(0).z])
            return super().step(game, optimizers, draw, state)

    fit(tiny(NSGAN, rule=Twice()), 2)
    assert all(torch.equal(first, second) for first, second in latents)
    assert not torch.equal(latents[0][0], latents[1][0])


def test_training_is_a_function_of_the_seed_and_not_of_the_global_generator(tiny, fit, snapshot):
    ends = []
    for seed, noise in ((3, 0), (3, 1), (4, 0)):
        module = tiny(WGANGP, seed=seed)
        torch.manual_seed(noise)
        fit(module, 3)
        ends.append(snapshot(module))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_rule_that_moves_nobody_is_an_error(tiny, fit):
    class Idle(Simultaneous):
        def step(self, game, optimizers, draw, state):
            return state

    with pytest.raises(RuntimeError, match=r"Idle.*moved no player"):
        fit(tiny(NSGAN, rule=Idle()))


# --- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("player", [0, 1], ids=PLAYER_NAMES)
@pytest.mark.parametrize("clip", [1e-3, 1e-2])
def test_clipping_bounds_every_step_and_keeps_its_direction(player, clip, tiny, fit, snapshot):
    ends = []
    for value in (None, clip):
        # Simultaneous: both runs see the same gradients
        module = tiny(
            NSGAN,
            rule=Simultaneous(),
            gradient_clip_norm=value,
            generator_optimizer=SGD,
            discriminator_optimizer=SGD,
        )
        start = snapshot(module.players[player])
        fit(module, 1)
        ends.append(snapshot(module.players[player]) - start)
    free, clipped = ends
    assert free.norm() > 0.1 * clip
    assert clipped.norm().item() == pytest.approx(0.1 * clip, rel=1e-2)
    assert torch.nn.functional.cosine_similarity(free, clipped, dim=0) > 0.999


def test_large_bound_clips_nothing(tiny, fit, snapshot):
    modules = [tiny(R3GAN, gradient_clip_norm=value) for value in (None, 1e6)]
    for module in modules:
        fit(module, 3)
    assert torch.equal(*map(snapshot, modules))


@pytest.mark.parametrize("value", [0, -1.0, NAN])
def test_bound_must_be_positive(value, tiny):
    with pytest.raises(ValueError, match=f"gradient_clip_norm={value}"):
        tiny(NSGAN, gradient_clip_norm=value)


# --- logging --------------------------------------------------------------------------------------------------------


def test_losses_are_logged_at_the_interval_as_means_over_all_gradients_since(variant, tiny, fit):
    module, losses, logged = tiny(variant, rule=Alternating(2)), ([], []), []
    inner = module.training_loss

    def training_loss(player, batch):
        loss = inner(player, batch)
        losses[player].append(loss.item())
        return loss

    module.training_loss = training_loss
    fit(module, 6, log_every_n_steps=3, after=lambda t: logged.append(dict(t.logged_metrics)))
    assert not logged[1]
    for iteration in (3, 6):
        for player, name in enumerate(PLAYER_NAMES):
            part = losses[player][(iteration - 3) * (1 + player) : iteration * (1 + player)]
            assert logged[iteration - 1][f"loss/{name}"].item() == pytest.approx(sum(part) / len(part), rel=1e-5)
    penalties = {f"penalty/{penalty.name}" for penalty in module.penalties}
    norms = {f"grad_norm/{name}" for name in PLAYER_NAMES}
    assert {"logits/real", "logits/fake", *penalties, *norms} <= set(logged[-1])


# --- numbers that are not finite ------------------------------------------------------------------------------------


def test_nan_in_the_data_stops_training_at_the_log_interval(tiny, fit):
    data, steps = normal(9), []
    data[3][0] = NAN
    with pytest.raises(NonFiniteError, match=r"iteration 6:.*loss/discriminator = nan"):
        fit(tiny(NSGAN), data, log_every_n_steps=3, after=lambda t: steps.append(t.global_step))
    assert steps == [1, 2, 3, 4, 5]


def test_nan_after_the_last_interval_is_found_at_the_end(tiny, fit):
    data = normal(5)
    data[4][0] = float("inf")
    with pytest.raises(NonFiniteError, match="iteration 5"):
        fit(tiny(NSGAN), data, log_every_n_steps=3)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_checkpoint_of_parameters_that_are_not_finite_is_refused_and_the_last_good_one_stays(
    network, tiny, fit, tmp_path
):
    module, path = tiny(NSGAN), tmp_path / "last.ckpt"
    trainer = fit(module, 2)
    trainer.save_checkpoint(path)
    good = path.read_bytes()
    with torch.no_grad():
        next(getattr(module, network).parameters())[0] = NAN
    with pytest.raises(NonFiniteError, match=rf"1 parameters are not finite, the first is {network}\."):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == good


# --- resuming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(2)], ids=repr)
def test_resumed_run_is_the_uninterrupted_one(variant, rule, tiny, fit, tmp_path):
    kwargs = {"rule": rule, "generator_scheduler": partial(ExponentialLR, gamma=0.9), "gradient_clip_norm": 1.0}
    data = normal(3, rows=8)
    if variant is ConditionalGAN:
        data = [(real, torch.arange(8)) for real in data]
    whole, half, rest = (tiny(variant, **kwargs) for _ in range(3))
    fit(whole, data, max_epochs=2)
    fit(half, data).save_checkpoint(tmp_path / "half.ckpt")
    trainer = fit(rest, data, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    assert trainer.global_step == 6
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [{"real": torch.zeros(4, 2)}, (torch.zeros(4, 2),) * 3, [torch.zeros(4, 2), "cat"]])
def test_batch_of_another_form_is_refused(batch, tiny, fit):
    with pytest.raises(TypeError, match=r"`real` or `\(real, labels\)`"):
        fit(tiny(NSGAN), [batch])


@pytest.mark.parametrize("rows", [2, 4, 7])
def test_batch_that_the_draws_do_not_divide_is_refused(rows, tiny, fit):
    with pytest.raises(ValueError, match=rf"{rows} rows .* 3 draws of Alternating\(n_critic=3.*multiple of 3"):
        fit(tiny(NSGAN, rule=Alternating(3)), normal(1, rows))


def test_dropout_draws_numbers_of_the_seed_and_resumes(fit, tmp_path, snapshot):
    def build():
        torch.manual_seed(1)
        generator = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        return NSGAN(generator, nn.Linear(2, 1), latent_dim=3)

    data = normal(3)
    whole, half, rest = build(), build(), build()
    fit(whole, data, max_epochs=2)
    fit(half, data).save_checkpoint(tmp_path / "half.ckpt")
    torch.manual_seed(99)  # whatever the global generator is at
    fit(rest, data, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    assert torch.equal(snapshot(whole), snapshot(rest))


def test_nan_parameters_are_told_before_metrics_see_samples(tiny, fit):
    module = tiny(NSGAN)
    fit(module, 1)
    with torch.no_grad():
        next(module.generator.parameters()).fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="parameters are not finite"):
        module.on_validation_start()


def test_a_game_has_two_players(tiny, fit):
    class Alone(NSGAN):
        @property
        def players(self):
            return (self.generator,)

    module = tiny(Alone)
    with pytest.raises(TypeError, match="Alone has 1 players"):
        fit(module)
    with pytest.raises(TypeError, match="Alone has 1 players"):
        Play(module, Simultaneous(), 0.1)
