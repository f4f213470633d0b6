"""Consistency regularisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules import NSGAN
from gan_modules.augmentation import AdaptiveAugment, InstanceNoise, RowAugmentation
from gan_modules.penalties import Consistency

NOISE = InstanceNoise(0.3)


def test_of_a_linear_discriminator_under_noise(linear, d_pass):
    w = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 3, dtype=torch.float64)
    d = d_pass(linear(w), real, fake)
    moved = [
        0.3 * d.batch.random.under(f"consistency/{rows}").normal("noise", (3,)).double() @ w
        for rows in ("real", "fake")
    ]
    squares = [move.square().mean() for move in moved]
    assert_close(Consistency(NOISE).discriminator(d), 10 * squares[0] + 10 * squares[1])
    assert_close(Consistency(NOISE, real=2.0, fake=0.0).discriminator(d), 2 * squares[0])  # CR-GAN
    assert_close(Consistency(NOISE, real=0.0, fake=3.0).discriminator(d), 3 * squares[1])
    assert Consistency(NOISE).generator(d) is None


def test_of_a_quadratic_discriminator_under_a_known_map(quadratic, d_pass):
    class Twice(RowAugmentation):
        def apply(self, x, random, memory):
            return 2 * x

    a = torch.randn(3, 3, dtype=torch.float64)
    a = a + a.T
    real, fake = torch.randn(2, 5, 3, dtype=torch.float64)
    value = Consistency(Twice(), fake=0.0).discriminator(d_pass(quadratic(a), real, fake))
    # D(2 x) = 4 D(x)
    assert_close(value, 10 * (3 * 0.5 * torch.einsum("bi,ij,bj->b", real, a, real)).square().mean())


@pytest.mark.parametrize(("real", "fake", "forwards"), [(10, 10, [12, 12]), (10, 0, [12, 6]), (0, 10, [12, 6])])
def test_costs_a_forward_of_what_it_weighs(real, fake, forwards, smooth, d_pass, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    points = torch.randn(2, 6, 3, dtype=torch.float64)
    Consistency(NOISE, real, fake).discriminator(d_pass(discriminator, *points))
    assert calls == forwards


def test_labels_go_with_the_augmented_rows(d_pass):
    class Conditional(nn.Module):
        def forward(self, x, labels):
            return x.sum(1) * labels

    real, fake = torch.randn(2, 4, 3)
    d = d_pass(Conditional(), real, fake, labels=torch.tensor([0, 1, 0, 0]))
    noise = d.batch.random.under("consistency/real").normal("noise", (3,))
    value = Consistency(NOISE, fake=0.0).discriminator(d)
    assert_close(value, 10 * (0.3 * noise[1].sum()).square() / 4)


def test_the_augmentations_memory_is_its_own(smooth, d_pass):
    adaptive = AdaptiveAugment(NOISE, start=1.0)
    penalty = Consistency(adaptive)
    assert penalty.init().keys() == adaptive.init().keys()
    d = d_pass(smooth(), *torch.randn(2, 6, 3, dtype=torch.float64), penalty)
    assert penalty.discriminator(d) > 0
    assert penalty.update(d)["draws"] == 1
    d.memory = AdaptiveAugment(NOISE, start=0.0).init()  # never augments
    assert penalty.discriminator(d) == 0


def test_trains_and_is_logged(tiny, fit):
    trainer = fit(tiny(NSGAN, penalties=(Consistency(NOISE),)), 2, log_every_n_steps=1)
    assert trainer.callback_metrics["penalty/Consistency"] > 0
    assert "penalty/Consistency/generator" not in trainer.callback_metrics


@pytest.mark.parametrize("weights", [{"real": -1.0}, {"fake": float("nan")}, {"real": 0.0, "fake": 0.0}], ids=str)
def test_wrong_weights_are_named(weights):
    with pytest.raises(ValueError, match=", ".join(f"{name}={value}" for name, value in weights.items())):
        Consistency(NOISE, **weights)


def test_what_is_no_augmentation_of_rows_is_refused():
    with pytest.raises(TypeError, match="RowAugmentation"):
        Consistency(nn.Identity())
