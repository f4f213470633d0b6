"""What every loss promises, whatever it asks of the discriminator."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle

import pytest
import torch
from loss_recipes import LOSSES, loss_on_ranks
from torch import nn
from torch.testing import assert_close

from gan_modules import GANModule, losses
from gan_modules.losses import AdversarialLoss, KernelBall, RationalQuadraticKernel
from gan_modules.networks import MLPGenerator
from gan_modules.penalties import WeightClipping
from gan_modules.rules import Alternating

ON_SAMPLES = KernelBall(on="samples")

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
every_learned_loss = pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss != ON_SAMPLES], ids=str)


def players(loss):
    return (loss.discriminator, loss.generator)


def test_every_exported_loss_is_tested():
    exported = {getattr(losses, name) for name in losses.__all__}
    concrete = {cls for cls in exported if issubclass(cls, AdversarialLoss) and not inspect.isabstract(cls)}
    assert concrete - {losses.FunctionClass} == {type(loss) for loss in LOSSES}


@every_loss
def test_is_an_immutable_value(loss):
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.weight = 1.0
    assert len({loss, copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))}) == 1


@every_loss
def test_players_pay_scalars_and_say_the_same_when_asked_twice(loss, smooth, d_pass):
    discriminator, (real, fake) = smooth(), torch.randn(2, 6, 3, dtype=torch.float64)
    for player in players(loss):
        value = player(d_pass(discriminator, real, fake, loss))
        assert value.shape == ()
        assert torch.equal(value, player(d_pass(discriminator, real, fake, loss)))


@every_loss
def test_generator_asks_for_real_rows_only_where_its_gradient_depends_on_them(loss, generator_pass, count_forwards):
    discriminator = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    calls = count_forwards(discriminator)
    (gradient,) = torch.autograd.grad(loss.generator(generator_pass(discriminator, real, fake, loss)), fake)
    forwards = len(calls)
    other = generator_pass(discriminator, real + torch.randn_like(real), fake, loss)
    (moved,) = torch.autograd.grad(loss.generator(other), fake)
    depends = not torch.equal(gradient, moved)
    if loss == ON_SAMPLES:
        assert depends
        assert forwards == 0
    else:
        assert forwards == 1 + depends


@every_learned_loss
def test_players_pull_the_logit_of_a_fake_in_opposite_directions(loss, said):
    real, fake = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([0.4, 0.5], [0.1, 0.2]))
    value = loss.discriminator(said(loss, real, fake))
    real_up, down = torch.autograd.grad(value, (real, fake))
    (up,) = torch.autograd.grad(loss.generator(said(loss, real, fake)), fake)
    assert (down > 0).all()
    assert (up < 0).all()
    assert (real_up < 0).all()


@every_learned_loss
def test_stays_finite_at_extreme_logits(loss, said):
    for far in (1e4, -1e4):
        real, fake = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([far, far], [-far, -far]))
        for player in players(loss):
            value = player(said(loss, real, fake))
            gradients = torch.autograd.grad(value, (real, fake), allow_unused=True)
            assert torch.isfinite(value)
            assert all(torch.isfinite(g).all() for g in gradients if g is not None)


@every_loss
def test_is_computed_in_float32_under_autocast(loss, smooth, d_pass):
    discriminator, (real, fake) = smooth(torch.float32), torch.randn(2, 6, 3)
    for player in players(loss):
        expected = player(d_pass(discriminator, real, fake, loss))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = player(d_pass(discriminator, real, fake, loss))
        # D itself speaks bfloat16
        assert_close(value.float(), expected, rtol=0.05, atol=0.02)


@every_loss
def test_second_derivatives_are_those_of_finite_differences(loss, smooth, d_pass):
    # mixed derivatives in D's parameters and in the fakes are what a game's Jacobian is made of
    discriminator, (real, start, direction) = smooth(), torch.randn(3, 6, 3, dtype=torch.float64)
    parameters = list(discriminator.parameters())

    for player in players(loss):

        def slope(step, create_graph=False, player=player):
            fake = (start + step * direction).requires_grad_()
            value = player(d_pass(discriminator, real, fake, loss))
            if not value.requires_grad:  # D's part in a kernel on samples
                return None, fake
            return torch.autograd.grad(
                value, [fake, *parameters], create_graph=create_graph, allow_unused=True, materialize_grads=True
            ), fake

        gradients, fake = slope(0.0, create_graph=True)
        if gradients is None:
            continue
        inner = sum((g * torch.full_like(g, 0.3)).sum() for g in gradients)
        (found,) = torch.autograd.grad(inner, fake, allow_unused=True, materialize_grads=True)
        h = 1e-5
        ends = [sum((0.3 * g).sum() for g in slope(step)[0]) for step in (h, -h)]
        assert_close((found * direction).sum(), (ends[0] - ends[1]) / (2 * h), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("index", range(len(LOSSES)), ids=lambda k: str(LOSSES[k]))
def test_two_processes_equal_the_joined_batch(index, gloo):
    alone = loss_on_ranks(0, 1, index)
    assert len(alone) > 4
    for found in gloo(loss_on_ranks, index):
        for a, b in zip(alone, found, strict=True):
            assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    "loss",
    [
        *LOSSES,
        KernelBall(RationalQuadraticKernel()),
        losses.MeanFeatures(p=1.0, constraint=WeightClipping(0.1)),
        losses.FeatureMatching(loss=losses.SobolevBall(0.5)),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Wasserstein grows without bound")
def test_trains_and_remembers(loss, precision, fit):
    discriminator = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    module = GANModule(MLPGenerator((2,), 3, 8, 2), discriminator, loss=loss, rule=Alternating(2))
    before = [p.clone() for p in module.generator.parameters()]
    fit(module, 3, precision=precision)
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, module.generator.parameters(), strict=True))
    assert all(value != 0 for value in module._memories["loss"].values())


@pytest.mark.parametrize("kind", ["outputs", "samples"])
def test_kernel_and_mean_features_take_vectors_and_maps(kind, d_pass):
    real, fake = torch.randn(2, 6, 1, 4, 4)
    discriminator = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    for loss in (KernelBall(on=kind), losses.MeanFeatures()):
        assert loss.generator(d_pass(discriminator, real, fake, loss)).shape == ()
