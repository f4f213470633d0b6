"""A GAN in training: its average, its constraint, its conditions, and what is found before the first iteration."""

from __future__ import annotations

import copy
import warnings
from functools import partial

import pytest
import torch
from recipes import VARIANTS, make, quiet_trainer, ring
from torch import nn
from torch.testing import assert_close

from gan_modules import NSGAN, SNGAN, WGAN, FeatureMatchingGAN, GANModule, LipschitzGAN, PacGAN
from gan_modules.augmentation import AdaptiveAugment, InstanceNoise
from gan_modules.losses import Hinge, Wasserstein
from gan_modules.networks import DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1, R2, GradientPenalty, LazyPenalty, LeCam, SpectralNorm, WeightClipping
from gan_modules.protocols import DISCRIMINATOR
from gan_modules.rules import (
    Alternating,
    CompetitiveGradient,
    Consensus,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
)

# --- the average ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(3)], ids=repr)
def test_average_follows_its_recursion_once_an_iteration(decay, rule, tiny, fit, snapshot):
    fast = partial(torch.optim.SGD, lr=0.5)
    module = tiny(NSGAN, ema_decay=decay, rule=rule, generator_optimizer=fast)
    expected = [snapshot(module.generator)]

    def compare(trainer):
        t = trainer.global_step
        # the warm-up that keeps the random initial generator out of the average
        a = min(decay, (1 + t) / (10 + t))
        expected.append(a * expected[-1] + (1 - a) * snapshot(module.generator))
        assert_close(snapshot(module.generator_ema), expected[-1])

    fit(module, 12, after=compare)
    assert len(expected) == 13
    assert (expected[-1] - expected[0]).norm() > 1e-3
    if decay == 0:
        assert torch.equal(snapshot(module.generator_ema), snapshot(module.generator))


def test_average_has_the_generators_current_statistics(fit):
    generator = DCGANGenerator((1, 8, 8), latent_dim=3, width=4)
    module = NSGAN(generator, MLPDiscriminator((1, 8, 8), width=4))
    fit(module, list(torch.randn(3, 4, 1, 8, 8)))
    for own, kept in zip(generator.buffers(), module.generator_ema.buffers(), strict=True):
        assert torch.equal(own, kept)
    assert all(counter == 3 for name, counter in generator.named_buffers() if name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_outside_its_range_is_named(decay, tiny):
    with pytest.raises(ValueError, match=f"ema_decay={decay}"):
        tiny(NSGAN, ema_decay=decay)


# --- the constraint -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating(2)], ids=repr)
def test_critic_stays_in_its_box_and_the_generator_does_not(rule, tiny, fit, snapshot):
    ends = []
    module = tiny(WGAN, clip=0.02, rule=rule)
    fit(module, 3, after=lambda _: ends.append(snapshot(module.discriminator).abs().max()))
    assert_close(torch.stack(ends), torch.full((3,), 0.02))
    assert snapshot(module.generator).abs().max() > 0.1


def test_constraint_is_imposed_before_the_generator_moves(tiny, fit):
    seen = []
    module = tiny(GANModule, loss=Hinge(), constraint=WeightClipping(0.02))
    module.discriminator.register_forward_pre_hook(lambda d, _: seen.append(d.head.linear.weight.abs().max()))
    fit(module, 1)
    # check, the critic's forward on the initial weights, the generator's on the clipped ones
    assert seen[0] == seen[1] > 0.02
    assert seen[-1].item() == pytest.approx(0.02)


# --- conditions -----------------------------------------------------------------------------------------------------


def labelled(n, classes, rows=4):
    numbers = torch.Generator().manual_seed(3)
    return [
        (torch.randn(rows, 2, generator=numbers), torch.randint(classes, (rows,), generator=numbers)) for _ in range(n)
    ]


def test_labels_condition_both_players(variant, tiny, fit, snapshot):
    if variant.__name__ == "PacGAN":
        pytest.skip("a pack has several classes")
    ends = []
    for shift in (0, 1):
        module = tiny(variant, num_classes=3, rule=Alternating(2))
        fit(module, [(real, (labels + shift) % 3) for real, labels in labelled(3, 3, rows=8)])
        ends.append([snapshot(player) for player in module.players])
    assert not any(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_labels_stay_with_their_rows(tiny, fit):
    seen = []

    class Recorder(Simultaneous):
        draws = 2

        def step(self, game, optimizers, draw, state):
            seen.extend((draw(k).real, draw(k).labels) for k in range(2))
            return super().step(game, optimizers, draw, state)

    data = labelled(2, 3)
    fit(tiny(NSGAN, num_classes=3, rule=Recorder()), data)
    assert torch.equal(torch.cat([real for real, _ in seen]), torch.cat([real for real, _ in data]))
    assert torch.equal(torch.cat([labels for _, labels in seen]), torch.cat([labels for _, labels in data]))


def test_unconditional_gan_ignores_labels(tiny, fit, snapshot):
    data = labelled(3, 3)
    modules = [tiny(NSGAN) for _ in range(3)]
    fit(modules[0], data)
    fit(modules[1], [real for real, _ in data])
    fit(modules[2], [(real,) for real, _ in data])
    assert torch.equal(snapshot(modules[0]), snapshot(modules[1]))
    assert torch.equal(snapshot(modules[0]), snapshot(modules[2]))


def test_conditional_gan_without_labels_is_an_error(tiny, fit):
    with pytest.raises(ValueError, match=r"num_classes=3 needs .*labels"):
        fit(tiny(NSGAN, num_classes=3), [torch.randn(4, 2)])


# --- found before the first iteration -------------------------------------------------------------------------------


def test_data_of_another_shape_than_the_generators_is_named(tiny, fit):
    module = tiny(NSGAN, shape=(3,))
    with pytest.raises(ValueError, match=r"data have shape \(2,\).*MLPGenerator makes shape \(3,\)"):
        fit(module, 1)


def test_datamodule_of_another_shape_is_named_before_it_is_read(tiny):
    module, data = tiny(NSGAN, shape=(3,)), ring()
    data.train_dataloader = lambda: pytest.fail("read")
    with pytest.raises(ValueError, match=r"data have shape \(2,\).*MLPGenerator makes shape \(3,\)"):
        quiet_trainer().fit(module, data)


def test_networks_that_do_not_fit_are_both_named(fit):
    module = NSGAN(MLPGenerator((3,), width=4), MLPDiscriminator((2,), width=4))
    with pytest.raises(ValueError, match=r"MLPGenerator makes samples of shape \(3,\).*MLPDiscriminator fails"):
        fit(module, 1)


# --- precision ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("bf16-mixed", torch.float32), ("bf16-true", torch.bfloat16), ("64-true", torch.float64)],
    ids=str,
)
def test_trains_at_any_precision(variant, precision, dtype, tiny, fit, snapshot):
    module = tiny(variant)
    start = snapshot(module).to(dtype)
    fit(module, 2, precision=precision)
    assert next(module.parameters()).dtype == dtype
    end = snapshot(module)
    assert torch.isfinite(end).all()
    assert not torch.equal(end, start)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("name", VARIANTS)
def test_trains_on_two_gpus_in_bf16(name):
    quiet_trainer(accelerator="gpu", devices=2, strategy="ddp_spawn", precision="bf16-mixed").fit(make(name), ring())


# --- any parts ------------------------------------------------------------------------------------------------------


def test_lazy_penalty_is_due_on_all_draws_of_an_iteration(tiny, fit):
    class Counted(R1):
        def discriminator(self, d):
            due.append(d.batch.index)
            return super().discriminator(d)

    due = []
    fit(tiny(NSGAN, penalties=(LazyPenalty(Counted(), every=4), R2()), rule=Alternating(3)), 5)
    assert due == [0, 1, 2, 12, 13, 14]


def test_a_batch_that_packs_do_not_divide_is_refused(tiny, fit):
    with pytest.raises(ValueError, match="Packed judges 2 rows at a time, and the batch has 5"):
        fit(tiny(PacGAN), [torch.randn(5, 2)])


def test_a_layer_that_does_not_exist_is_named_beside_those_that_do(tiny):
    with pytest.raises(ValueError, match=r"no layer 'last'; it has hidden, .*'penultimate'"):
        tiny(FeatureMatchingGAN, features=["last"])


def test_penalties_that_contradict_each_other_are_refused(tiny):
    with pytest.raises(ValueError, match=r"R1.*real points to 0.0, and GradientPenalty.*to 1.0"):
        tiny(NSGAN, penalties=[LazyPenalty(R1(), 2), GradientPenalty(at="real")])
    tiny(NSGAN, penalties=[R1(), GradientPenalty()])  # at different points
    with pytest.raises(ValueError, match=r"Contradictory constraints.*SpectralNorm.*WeightClipping"):
        tiny(LipschitzGAN, by=SpectralNorm(), constraint=WeightClipping())


@pytest.mark.parametrize(
    ("bounded", "given"),
    [
        (False, {}),
        (True, {"penalties": [R1()]}),
        (True, {"penalties": [LazyPenalty(GradientPenalty(), 4)]}),
        (True, {"constraint": SpectralNorm()}),
    ],
    ids=str,
)
def test_a_wasserstein_loss_that_nothing_bounds_is_warned_of(bounded, given, tiny, fit):
    module = tiny(GANModule, loss=Wasserstein(), **given)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(module, 1)
    assert any("Wasserstein grows without bound" in str(w.message) for w in caught) != bounded


def test_what_parts_remember_is_logged_and_resumed(tiny, fit, tmp_path):
    def build():
        adaptive = AdaptiveAugment(InstanceNoise(0.1), images=100, every=1)
        return tiny(NSGAN, penalties=[LeCam()], augmentation=[adaptive], rule=Alternating(2))

    data = [torch.randn(8, 2, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    whole, half, rest = (build() for _ in range(3))
    logged = fit(whole, data, max_epochs=2, log_every_n_steps=1).logged_metrics
    fit(half, data).save_checkpoint(tmp_path / "half.ckpt")
    fit(rest, data, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")
    assert whole._memories["penalty/LeCam"]["draws"] == 12
    assert logged["memory/penalty/LeCam/real"] == whole._memories["penalty/LeCam"]["real"] != 0
    assert dict(whole._memories.named()) == dict(rest._memories.named())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, rest.state_dict()[name]), name
    other = tiny(NSGAN, penalties=[R1()], augmentation=[InstanceNoise()], rule=Alternating(2))
    with pytest.raises(ValueError, match=r"remembers .* of .*, and this module \[\]: build it with the same loss"):
        fit(other, data, max_epochs=2, ckpt_path=tmp_path / "half.ckpt")


def test_all_evaluations_of_a_draw_see_the_same_memory(tiny, alone, game_batch):
    module = alone(tiny(NSGAN, penalties=[LeCam()]))
    first, second = (game_batch(torch.randn(6, 2), torch.randn(6, 3), index=k) for k in range(2))
    module.training_loss(DISCRIMINATOR, first)
    values = [module.training_loss(DISCRIMINATOR, second) for _ in range(3)]
    assert values[0] == values[1] == values[2]
    assert module._memories["penalty/LeCam"]["draws"] == 1


@pytest.mark.parametrize("rule", [Consensus(), SymplecticAdjustment(), CompetitiveGradient(), Unrolled(2)], ids=repr)
def test_rules_that_read_the_jacobian_move_on_what_a_training_pass_moves(rule, tiny, fit):
    sgd = partial(torch.optim.SGD, lr=0.0)
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
    modules = []
    for r in (rule, Simultaneous()):
        torch.manual_seed(0)
        parts = {"penalties": [LeCam(decay=0.0)], "constraint": SpectralNorm()}
        generator = MLPGenerator((2,), latent_dim=3, width=8)
        modules.append(
            GANModule(generator, copy.deepcopy(discriminator), loss=Hinge(), rule=r, generator_optimizer=sgd,
                      discriminator_optimizer=sgd, **parts)
        )  # fmt: skip
        fit(modules[-1], 3)
    moved = modules[0]
    assert moved._memories["penalty/LeCam"]["draws"] == 3
    for name in ("real", "fake"):
        assert moved._memories["penalty/LeCam"][name] != 0
    assert moved.discriminator[1].num_batches_tracked > 0
    u = [module.discriminator[0].parametrizations.weight[0]._u for module in modules]
    assert_close(u[0], u[1], rtol=0.05, atol=0.05)


def test_an_unrolled_discriminator_is_not_remembered(tiny, fit):
    sgd = partial(torch.optim.SGD, lr=1.0)
    seen = []
    for rule in (Unrolled(3), Simultaneous()):
        module = tiny(NSGAN, penalties=[LeCam(decay=0.0)], rule=rule, discriminator_optimizer=sgd)
        fit(module, 1)
        seen.append(module._memories["penalty/LeCam"]["real"])
    assert_close(*seen)


def test_diagnostics_move_nothing_on(tiny, alone):
    module = alone(tiny(SNGAN, penalties=[LeCam()]))
    before = [b.clone() for b in module.buffers()]
    module.jacobian(module.game_batch(torch.randn(4, 2))).field  # noqa: B018
    module._memories.turn()
    assert module._memories["penalty/LeCam"]["draws"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, module.buffers(), strict=True))


def test_memories_go_where_the_module_goes_and_keep_their_type(tiny):
    module = tiny(NSGAN, penalties=[LeCam()]).double().to("meta")
    kept = dict(module._memories.named())
    assert {value.device.type for value in kept.values()} == {"meta"}
    assert kept["penalty/LeCam/real"].dtype == torch.float32
    assert kept["penalty/LeCam/draws"].dtype == torch.int64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"penalties": R1()}, "penalties=R1.*must be a list"),
        ({"penalties": [WeightClipping()]}, "penalties=.* no Penalty; it belongs to constraint"),
        ({"constraint": R1()}, "constraint=.* no Constraint; it belongs to penalties"),
        ({"augmentation": [Hinge()]}, "augmentation=.* no Augmentation; it belongs to loss"),
        ({"loss": R1()}, "loss=.* no AdversarialLoss; it belongs to penalties"),
    ],
    ids=str,
)
def test_a_part_given_as_another_argument_is_told_where_it_belongs(given, message, tiny):
    with pytest.raises(TypeError, match=message):
        tiny(GANModule, **given)


def test_any_pair_of_modules_serves(fit):
    module = NSGAN(nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)), latent_dim=4)
    assert fit(module, 2).global_step == 2
    assert module.sample(3).shape == (3, 2)
