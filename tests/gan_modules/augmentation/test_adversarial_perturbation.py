"""The adversary of a robust discriminator: the worst point of a ball, and nothing else changes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing import assert_close

from gan_modules import DiracGAN, GANModule
from gan_modules.augmentation import AdversarialPerturbation, View
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.dynamics import GameJacobian, Play, dense
from gan_modules.losses import Hinge, KernelBall, Minimax, NonSaturating, Wasserstein
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.protocols import DISCRIMINATOR, GENERATOR
from gan_modules.rules import Alternating


@pytest.fixture
def seen(game_batch):
    """A function (augmentation, discriminator, real, fake, ...) -> what the discriminator sees in its loss."""

    def show(augment, discriminator, real, fake, *, loss=None, player=DISCRIMINATOR, **kwargs):
        batch = game_batch(real, **kwargs)

        def value(real, fake):
            return (loss or NonSaturating()).discriminator(DiscriminatorPass(discriminator, batch, real, fake))

        return augment(real, fake, View(batch, batch.random, player, {}, value))

    return show


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("loss", [NonSaturating(), Minimax(), Wasserstein()], ids=lambda x: type(x).__name__)
def test_the_worst_point_of_a_linear_discriminator(steps, loss, linear, seen):
    w = torch.tensor([3.0, -4.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, dtype=torch.float64)
    for norm, worst in (("l2", w / 5), ("linf", w.sign())):
        augment = AdversarialPerturbation(0.1, norm, steps, fakes=True)
        shown = seen(augment, linear(w), real, fake, loss=loss)
        assert_close(shown[0], real - 0.1 * worst, rtol=0, atol=1e-12)
        assert_close(shown[1], fake + 0.1 * worst, rtol=0, atol=1e-12)


def test_fakes_are_left_alone_unless_asked_for(linear, seen):
    real, fake = torch.randn(2, 5, 2)
    shown = seen(AdversarialPerturbation(0.1), linear([1.0, 2.0]), real, fake)
    assert not torch.equal(shown[0], real)
    assert shown[1] is fake


def test_the_generators_loss_is_on_rows_as_they_are(linear, seen):
    real, fake = torch.randn(2, 5, 2)
    shown = seen(AdversarialPerturbation(0.1, fakes=True), linear([1.0, 2.0]), real, fake, player=GENERATOR)
    assert shown[0] is real
    assert shown[1] is fake


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_more_steps_find_worse_points_within_the_ball(norm, smooth, seen):
    discriminator, (real, fake) = smooth(), torch.randn(2, 16, 3, dtype=torch.float64)
    with torch.no_grad():
        for p in discriminator.parameters():
            p *= 3  # curved within the ball

    def value(steps, **kwargs):
        shown = seen(AdversarialPerturbation(1.0, norm, steps, **kwargs), discriminator, real, fake)[0]
        reach = (shown - real).abs().amax(1) if norm == "linf" else (shown - real).norm(dim=1)
        assert reach.max() <= 1 + 1e-12
        return nn.functional.softplus(-discriminator(shown)).mean().item()

    random, one, many = value(0), value(1), value(20)
    assert nn.functional.softplus(-discriminator(real)).mean() < one < many
    assert random < many
    assert value(20, random_start=True) == pytest.approx(many, rel=0.05)


def test_random_points_fill_the_ball(linear, seen):
    real = torch.zeros(4000, 3, dtype=torch.float64)
    for norm, mean in (("l2", 3 / 4), ("linf", 1 / 2)):
        shown = seen(AdversarialPerturbation(2.0, norm, 0), linear([1.0, 2.0, 3.0]), real, real)[0]
        # of a uniform point: E ||x|| = n / (n + 1) of the radius, E |x_i| half of it
        size = shown.norm(dim=1) if norm == "l2" else shown.abs()
        assert size.mean().item() == pytest.approx(2 * mean, rel=0.02)
        assert size.max() <= 2
        assert_close(shown.mean(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.06)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_rows_without_slope_stay(norm, linear, seen):
    real, fake = torch.randn(2, 4, 2)
    flat = seen(AdversarialPerturbation(0.1, norm, 3), linear([0.0, 0.0]), real, fake)[0]
    assert torch.equal(flat, real)
    beyond = torch.tensor([[5.0, 0.0], [0.5, 0.0]])  # one beyond the hinge's margin, one within
    shown = seen(AdversarialPerturbation(0.1, norm), linear([1.0, 0.0]), beyond, fake[:2], loss=Hinge())[0]
    assert_close(shown, torch.tensor([[5.0, 0.0], [0.4, 0.0]]))


@pytest.mark.parametrize("steps", [1, 3])
def test_rows_stay_where_the_discriminator_has_no_loss(steps, smooth, seen, tiny, fit):
    real, fake = torch.randn(2, 4, 3, dtype=torch.float64)
    augment = AdversarialPerturbation(0.1, steps=steps, fakes=True)
    shown = seen(augment, smooth(), real, fake, loss=KernelBall(on="samples"))
    assert torch.equal(shown[0], real)
    assert torch.equal(shown[1], fake)
    fit(tiny(GANModule, loss=KernelBall(on="samples"), augmentation=[augment]), 2)


def test_a_saturated_loss_has_a_direction_still(linear, seen):
    # slope sigmoid(-95) / 4, whose square is no single-precision number
    real = torch.tensor([[95.0, 0.0]]).expand(4, 2)
    shown = seen(AdversarialPerturbation(0.5), linear([1.0, 0.0]), real, -real)[0]
    assert_close(shown, real - torch.tensor([0.5, 0.0]))


def test_works_without_gradients_and_in_inference_mode(smooth, seen):
    discriminator, (real, fake) = smooth(), torch.randn(2, 4, 3, dtype=torch.float64)
    augment = AdversarialPerturbation(0.3, steps=2, fakes=True)
    expected = seen(augment, discriminator, real, fake)
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            shown = seen(augment, discriminator, real.clone(), fake.clone())
        for now, then in zip(shown, expected, strict=True):
            assert torch.equal(now, then)
            assert not now.requires_grad


def test_nothing_reaches_the_gradients_of_either_network(smooth, seen):
    discriminator = smooth()
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    real, fake = torch.randn(2, 4, 3, dtype=torch.float64)
    shown = seen(AdversarialPerturbation(0.3, steps=2, fakes=True), discriminator, real, fake + shift)
    assert all(p.grad is None for p in discriminator.parameters())
    assert shift.grad is None
    assert torch.equal(torch.autograd.grad(shown[1].sum(), shift)[0], torch.tensor(12.0, dtype=torch.float64))


def test_costs_a_forward_a_step(smooth, seen, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    seen(AdversarialPerturbation(0.1, steps=3), discriminator, real, fake)
    assert calls == [12, 12, 12]
    calls.clear()
    seen(AdversarialPerturbation(0.1, steps=0), discriminator, real, fake)
    assert calls == []


def test_the_ascent_is_in_float32_under_autocast(smooth, seen):
    discriminator, (real, fake) = smooth(torch.float32), torch.randn(2, 6, 3)
    augment = AdversarialPerturbation(1e-3, steps=2, fakes=True)
    expected = seen(augment, discriminator, real, fake.bfloat16().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        shown = seen(augment, discriminator, real, fake.bfloat16())
    for now, then in zip(shown, expected, strict=True):
        assert torch.equal(now, then)


# --- in a game ------------------------------------------------------------------------------------------------------


def robust(discriminator, **kwargs):
    generator = MLPGenerator((2,), latent_dim=3, width=8, depth=2)
    augment = AdversarialPerturbation(0.2, steps=2, fakes=True)
    return GANModule(generator, discriminator, loss=NonSaturating(), augmentation=[augment], **kwargs)


def layers(kind):
    """A discriminator of points whose forward changes its buffers in training."""
    first = nn.Linear(2, 8)
    first = parametrizations.spectral_norm(first) if kind == "spectral norm" else first
    norm = nn.BatchNorm1d(8) if kind == "batch norm" else nn.Identity()
    return nn.Sequential(first, norm, nn.Tanh(), nn.Linear(8, 1))


@pytest.mark.parametrize("kind", ["batch norm", "spectral norm"])
def test_running_statistics_and_power_iterations_advance_as_without_it(kind, alone):
    found = []
    for eps in (0.0, 1e-12):  # too little to change what D sees
        torch.manual_seed(0)
        model = alone(
            GANModule(
                MLPGenerator((2,), latent_dim=3, width=8, depth=2),
                layers(kind),
                loss=NonSaturating(),
                augmentation=[AdversarialPerturbation(eps, steps=3, fakes=True)],
            )
        )
        buffers = dict(model.discriminator.named_buffers())
        for name, vector in buffers.items():
            if name.endswith("._v"):  # away from where the iterations have converged
                vector.copy_(nn.functional.normalize(torch.randn(2), dim=0))
        batch = model.game_batch(torch.randn(8, 2))
        for player in (DISCRIMINATOR, GENERATOR):
            model.gradient(player, batch)
        assert all(buffers[name] is b for name, b in model.discriminator.named_buffers())
        found.append({name: b.clone() for name, b in buffers.items()})
    assert found[0].keys() == found[1].keys() != set()
    for name, value in found[0].items():
        assert_close(found[1][name], value)


@pytest.mark.parametrize("kind", ["batch norm", "spectral norm", "neither"])
def test_the_games_field_is_the_gradient_of_training(kind, alone):
    torch.manual_seed(0)
    model = alone(robust(layers(kind))).double()
    batch = model.game_batch(torch.randn(8, 2, dtype=torch.float64))
    field = GameJacobian(model, batch).field
    for player in (GENERATOR, DISCRIMINATOR):
        if kind == "spectral norm":
            model.eval()  # whose singular vectors a game's Jacobian takes as they are
        model.gradient(player, batch)
        gradient = torch.cat([p.grad.flatten() for p in model.players[player].parameters()])
        assert_close(-gradient, field[player])


def test_the_generators_influence_on_the_discriminators_loss_is_kept():
    # psi' = -(theta + eps sgn psi) - eps sgn psi: its derivative in theta is -1, which needs the graph of G
    game = DiracGAN(
        Wasserstein(), theta=0.7, psi=0.2, augmentation=[AdversarialPerturbation(0.05, fakes=True)], ema_decay=0.0
    )
    jacobian = GameJacobian(game, game.batch())
    assert_close(jacobian.field[1], torch.tensor([-0.7 - 2 * 0.05], dtype=torch.float64), check_dtype=False)
    assert_close(dense(jacobian).matrix, torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64))


def test_dry_friction_takes_four_eps_a_half_cycle():
    eps, h = 0.05, 0.01
    game = DiracGAN(Wasserstein(), theta=1.0, augmentation=[AdversarialPerturbation(eps, fakes=True)])
    path = torch.stack(list(Play(game, Alternating(), h, lambda k: game.batch(k)).trajectory(700)))
    signs = path[1:, 1].sign()  # of psi, which turns where theta is farthest
    turns = (signs[1:] != signs[:-1]).nonzero().flatten() + 1
    assert_close(path[turns, 0], torch.tensor([-0.8, 0.6], dtype=torch.float64), rtol=0, atol=0.01)


def test_trains_on_both_kinds_of_rows(fit, snapshot):
    model = robust(MLPDiscriminator((2,), width=8, depth=2))
    before = snapshot(model)
    fit(model, 2)
    after = snapshot(model)
    assert after.isfinite().all()
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"eps": -1.0}, "eps=-1.0"),
        ({"eps": math.nan}, "eps=nan"),
        ({"eps": 1.0, "norm": "l1"}, "norm='l1'.*l2, linf"),
        ({"eps": 1.0, "steps": -1}, "steps=-1"),
        ({"eps": 1.0, "step_size": 0.0}, "step_size=0.0"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(ValueError, match=words):
        AdversarialPerturbation(**arguments)
