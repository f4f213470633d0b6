"""The discriminator evaluated once on a batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.discriminator_pass import PENULTIMATE, DiscriminatorPass, call, check_layers, has_batch_statistics
from gan_modules.networks import MLPDiscriminator, Packed
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


@pytest.fixture
def both():
    return torch.randn(2, 6, 3, dtype=torch.float64).unbind()


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("gradient_at", [(), ("real",), ("real", "fake")], ids=str)
def test_features_are_what_the_named_layers_put_out_in_the_losss_own_forward(
    joint, gradient_at, both, smooth, game_batch, count_forwards
):
    discriminator = smooth()
    d = DiscriminatorPass(
        discriminator,
        game_batch(both[0]),
        *both,
        layers=("1", "3", "1", PENULTIMATE),
        gradient_at=frozenset(gradient_at),
        joint=joint,
    )
    calls = count_forwards(discriminator)
    for name, rows in zip(("real", "fake"), both, strict=True):
        assert_close(d.features(name, "1"), discriminator[:2](rows))
        assert_close(d.features(name, "3"), discriminator[:4](rows))
        assert torch.equal(d.features(name, PENULTIMATE), d.features(name, "3"))
        assert_close(discriminator[4](d.features(name, "3")), getattr(d, f"{name}_logits"))
    assert sum(calls) == 12
    assert not any(module._forward_hooks for module in discriminator)  # nothing stays behind


def test_features_carry_the_generators_graph(both, smooth, game_batch):
    fake = both[1].requires_grad_()
    d = DiscriminatorPass(smooth(), game_batch(both[0]), both[0], fake, layers=("1",))
    (gradient,) = torch.autograd.grad(d.features("fake", "1").square().sum(), fake)
    assert (gradient.norm(dim=1) > 0).all()


def test_features_nobody_announced_are_refused(both, smooth, game_batch):
    d = DiscriminatorPass(smooth(), game_batch(both[0]), *both, layers=("1",))
    with pytest.raises(KeyError, match="must name the layer in its `layers`"):
        d.features("real", "3")


def test_unknown_layers_are_named_beside_those_there_are(smooth):
    check_layers(smooth(), ["0", "4", PENULTIMATE])
    with pytest.raises(ValueError, match=r"has no layer 'body'; it has 0, 1, 2, 3, 4, and 'penultimate'"):
        check_layers(smooth(), ["0", "body"])


def test_layers_that_give_no_tensor_and_networks_without_a_last_one_are_named(both, game_batch):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class First(nn.Module):
        def forward(self, pair):
            return pair[0].sum(1)

    batch = game_batch(both[0])
    with pytest.raises(TypeError, match="layer '0' gives a tuple"):
        _ = DiscriminatorPass(nn.Sequential(Pair(), First()), batch, *both, layers=("0",)).real_logits
    with pytest.raises(ValueError, match="no linear or convolutional layer"):
        _ = DiscriminatorPass(nn.Sequential(Pair(), First()), batch, *both, layers=(PENULTIMATE,)).real_logits


@pytest.mark.parametrize("penalties", [(), (R1(), R2()), (R1(),)], ids=str)
def test_logits_and_gradients_of_packs(penalties, linear, d_pass):
    w = torch.randn(6, dtype=torch.float64)
    real, fake = torch.randn(2, 8, 3, dtype=torch.float64)
    d = d_pass(Packed(linear(w), 2), real, fake, *penalties)
    assert_close(d.real_logits, real.view(4, 6) @ w)
    assert_close(d.fake_logits, fake.view(4, 6) @ w)
    for rows in ("real", "fake"):
        assert_close(d.gradient(rows).detach(), w.expand(4, 6))


def test_gradients_are_those_of_the_critic_that_a_loss_says(both, smooth, game_batch):
    # asked for beforehand or not
    for gradient_at in (frozenset(), frozenset({"real", "fake"})):
        discriminator = smooth()
        d = DiscriminatorPass(
            discriminator,
            game_batch(both[0]),
            *both,
            gradient_at=gradient_at,
            witness=lambda logits, d: 3 * logits - d.fake_logits.mean(),
        )
        x = both[0].clone().requires_grad_()
        (expected,) = torch.autograd.grad(discriminator(x).sum(), x)
        assert_close(d.gradient("real"), 3 * expected)
        assert_close(d.gradient_of(both[0]), 3 * expected)


def test_under_autocast_all_that_losses_read_is_in_float32(both, smooth, game_batch):
    real, fake = (rows.float() for rows in both)
    discriminator = smooth(torch.float32)
    exact = DiscriminatorPass(discriminator, game_batch(real), real, fake, layers=("3",))
    expected = exact.gradient("real")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        d = DiscriminatorPass(
            discriminator, game_batch(real), real, fake, layers=("3",), gradient_at=frozenset({"real"})
        )
        assert discriminator(real).dtype == torch.bfloat16
        assert d.real_logits.dtype == d.features("real", "3").dtype == d.mean(d.real_logits).dtype == torch.float32
        assert_close(d.gradient("real"), expected, rtol=1e-6, atol=1e-7)


def test_only_the_rows_that_are_asked_for_pass_where_they_go_apart(both, smooth, game_batch, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    d = DiscriminatorPass(discriminator, game_batch(both[0]), *both, joint=False)
    _ = d.fake_logits
    assert calls == [6]
