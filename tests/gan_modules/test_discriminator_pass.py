"""The discriminator evaluated once on a batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.discriminator_pass import DiscriminatorPass, call, has_batch_statistics
from gan_modules.networks import MLPDiscriminator
from gan_modules.penalties import R1, R2, GradientPenalty, LazyPenalty


def evaluate(d, penalties):
    """What the discriminator's loss asks of a pass."""
    return [d.real_logits, d.fake_logits, *(penalty.discriminator(d) for penalty in penalties)]


@pytest.mark.parametrize(
    ("penalties", "forwards"),
    [
        ((), [12]),
        ((R1(), R2()), [12]),  # both penalties take their gradient from the loss's own forward
        ((R1(),), [6, 6]),  # the fakes stay out of the gradient's way
        ((R2(),), [6, 6]),
        ((GradientPenalty(),), [12, 6]),
        ((GradientPenalty(), R1(), R2()), [12, 6]),
        ((LazyPenalty(R1()), LazyPenalty(R2())), [12]),
    ],
    ids=str,
)
def test_forwards_that_a_loss_with_penalties_takes(penalties, forwards, smooth, d_pass, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    d = d_pass(discriminator, real, fake, *penalties)
    evaluate(d, penalties)
    evaluate(d, [p for p in penalties if not isinstance(p, GradientPenalty)])
    assert sorted(calls) == sorted(forwards)


@pytest.mark.parametrize("penalties", [(), (R1(),), (R2(),), (R1(), R2())], ids=str)
def test_logits_are_those_of_the_two_sides_alone(penalties, smooth, d_pass):
    discriminator = smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    d = d_pass(discriminator, real, fake, *penalties)
    assert_close(d.real_logits, discriminator(real))
    assert_close(d.fake_logits, discriminator(fake))


def test_labels_of_a_row_go_with_it(d_pass):
    discriminator = MLPDiscriminator((3,), width=8, depth=2, num_classes=4)
    real, fake = torch.randn(2, 4, 3)
    labels = torch.tensor([3, 0, 1, 2])
    d = d_pass(discriminator, real, fake, R1(), R2(), labels=labels)
    assert_close(d.real_logits, discriminator(real, labels))
    assert_close(d.fake_logits, discriminator(fake, labels))
    x = real.clone().requires_grad_()
    (expected,) = torch.autograd.grad(discriminator(x, labels).sum(), x)
    assert_close(d.gradient("real"), expected)
    assert_close(d.gradient_of(real), expected)


@pytest.mark.parametrize("penalties", [(), (R1(), R2()), (GradientPenalty(),)], ids=str)
def test_batch_normalisation_never_sees_real_and_fake_rows_together(penalties, d_pass, count_forwards):
    discriminator = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))
    calls = count_forwards(discriminator)
    real, fake = torch.randn(6, 3), torch.randn(6, 3) + 5
    d = d_pass(discriminator, real, fake, *penalties)
    evaluate(d, penalties)
    assert set(calls) == {6}
    assert_close(d.real_logits, discriminator(real))
    assert_close(d.fake_logits, discriminator(fake))


def test_modules_whose_rows_see_each_other_are_told_by_type_or_by_their_word():
    class MinibatchDeviation(nn.Module):
        batch_statistics = True

    class Honest(nn.Module):
        batch_statistics = False

    rows = [nn.Linear(2, 2), nn.LayerNorm(2), nn.InstanceNorm2d(2), nn.GroupNorm(1, 2), Honest()]
    assert not has_batch_statistics(nn.Sequential(*rows))
    for layer in (nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.SyncBatchNorm(2), MinibatchDeviation()):
        assert has_batch_statistics(nn.Sequential(nn.Linear(2, 2), nn.Sequential(layer)))


def test_labels_reach_a_network_only_where_there_are_some():
    class Network(nn.Module):
        def forward(self, *inputs):
            return torch.tensor(len(inputs))

    x = torch.zeros(2, 3)
    assert call(Network(), x, None) == 1
    assert call(Network(), x, torch.zeros(2, dtype=torch.long)) == 2


@pytest.mark.parametrize("rows", ["real", "fake"])
@pytest.mark.parametrize("shared", [True, False])
def test_gradient_at_rows_is_that_of_each_row_and_can_be_differentiated(rows, shared, quadratic, game_batch):
    a = torch.randn(3, 3, dtype=torch.float64)
    discriminator = quadratic(a + a.T)
    points = dict(zip(("real", "fake"), torch.randn(2, 6, 3, dtype=torch.float64), strict=True))
    points["fake"].requires_grad_()  # a generator's rows carry its graph
    batch = game_batch(points["real"])
    d = DiscriminatorPass(
        discriminator, batch, points["real"], points["fake"], gradient_at=frozenset({rows} if shared else ())
    )
    gradient = d.gradient(rows)
    assert_close(gradient, points[rows] @ discriminator.a)
    assert gradient.requires_grad
    if rows == "fake":  # never detached: the mixed derivative with respect to the generator's rows
        (mixed,) = torch.autograd.grad(gradient.sum(), points["fake"])
        assert_close(mixed, discriminator.a.detach().sum(1).expand(6, 3))


def test_rows_of_the_batch_are_left_alone(smooth, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    penalties = (R1(), R2())
    evaluate(d_pass(smooth(), real, fake, *penalties), penalties)
    assert not real.requires_grad
    assert not fake.requires_grad
    assert real.grad is None
