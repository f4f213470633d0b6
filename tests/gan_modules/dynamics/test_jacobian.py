"""The Jacobian of the field that training follows: every product against differences of that field."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from recipes import TOYS, VARIANTS, products_on_ranks, toy
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils import spectral_norm as hooked_spectral_norm
from torch.nn.utils.parametrizations import spectral_norm
from torch.testing import assert_close

from gan_modules import NSGAN, WGANGP, GANModule
from gan_modules.dynamics import GameJacobian, MatrixJacobian, NotTwiceDifferentiableError, dense, spectrum, times
from gan_modules.losses import NonSaturating, Wasserstein
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1, LazyPenalty
from gan_modules.protocols import by_player


def random_vector(jacobian, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(sum(jacobian.sizes), generator=numbers, dtype=torch.float64)


@pytest.fixture
def check(difference):
    """A function (game, batch, jacobian): products, transposed products and the matrix, against the real field."""

    def assert_is_jacobian(game, batch, jacobian, atol=1e-6):
        matrix = dense(jacobian).matrix
        for seed in range(0, 6, 2):
            w, u = random_vector(jacobian, seed), random_vector(jacobian, seed + 1)
            product = times(jacobian, w)
            assert_close(product, difference(game, batch, w), atol=atol, rtol=1e-6)
            assert_close(product, matrix @ w)
            transposed = torch.cat(jacobian.transposed(by_player(u, jacobian.sizes)))
            assert_close(transposed, matrix.T @ u)
            assert (product @ u).item() == pytest.approx((w @ transposed).item(), rel=1e-9)

    return assert_is_jacobian


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_equals_differences_of_its_gradients(name, double, check, field):
    game, batch = double(name)
    jacobian = GameJacobian(game, batch)
    assert_close(torch.cat(jacobian.field), field(game, batch), rtol=1e-10, atol=1e-13)
    check(game, batch, jacobian)


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_equals_differences_away_from_its_equilibrium(name, check, field):
    game = toy(name)
    with torch.no_grad():
        for p in game.parameters():
            p += 0.3 * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(p.numel()))
    jacobian = GameJacobian(game, game.batch())
    assert_close(torch.cat(jacobian.field), field(game, game.batch()), rtol=1e-10, atol=1e-13)
    check(game, game.batch(), jacobian)


def normalised(width=6):
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 2))


class Critic(nn.Sequential):
    """A sequence of layers to one logit a row."""

    def forward(self, x):
        return super().forward(x).squeeze(1)


def test_batch_statistics_are_differentiated_and_running_ones_left_alone(check, batch_of):
    critic = Critic(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))
    game = GANModule(normalised(), critic, loss=NonSaturating(), latent_dim=2, ema_decay=0).double()
    batch = batch_of(game, 8)
    before = {name: b.clone() for name, b in game.named_buffers()}
    jacobian = GameJacobian(game, batch)
    matrix = dense(jacobian).matrix
    assert all(torch.equal(b, before[name]) for name, b in game.named_buffers())
    assert all(p.grad is None for p in game.parameters())
    check(game, batch, GameJacobian(game, batch))
    assert torch.equal(dense(GameJacobian(game, batch)).matrix, matrix)  # the probe leaves no trace on the next one


@pytest.mark.parametrize("normalise", [spectral_norm, hooked_spectral_norm], ids=["parametrization", "hook"])
@pytest.mark.filterwarnings("ignore")
def test_spectral_norm_counts_as_a_constant_and_is_not_iterated(normalise, difference, field, batch_of):
    critic = Critic(normalise(nn.Linear(2, 5)), nn.Tanh(), normalise(nn.Linear(5, 1)))
    game = GANModule(MLPGenerator((2,), 3, 4, 1), critic, loss=Wasserstein(), penalties=[R1()], ema_decay=0).double()
    batch = batch_of(game)
    before = {name: b.clone() for name, b in game.named_buffers()}
    jacobian = GameJacobian(game, batch)
    matrix = dense(jacobian).matrix
    assert all(torch.equal(b, before[name]) for name, b in game.named_buffers())
    assert all(module.training for module in critic.modules())
    critic.eval()  # where torch does not iterate either
    assert_close(torch.cat(jacobian.field), field(game, batch))
    w = random_vector(jacobian)
    assert_close(matrix @ w, difference(game, batch, w), atol=1e-6, rtol=1e-6)


class Attention(nn.Module):
    """One head of attention over the two numbers of a point."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(1, 12)
        self.out = nn.Linear(8, 1)

    def forward(self, x):
        q, k, v = self.embed(x.unsqueeze(-1)).chunk(3, -1)
        attended = scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)
        return self.out(attended.flatten(1)).squeeze(1)


def test_attention_is_taken_in_its_twice_differentiable_form(check, batch_of):
    game = GANModule(MLPGenerator((2,), 3, 4, 1), Attention(), loss=NonSaturating(), ema_decay=0).double()
    batch = batch_of(game)
    check(game, batch, GameJacobian(game, batch))


def test_labels_condition_both_players(difference, batch_of):
    networks = MLPGenerator((2,), 3, 4, 1, num_classes=3), MLPDiscriminator((2,), 4, 1, num_classes=3)
    game = WGANGP(*networks, num_classes=3, ema_decay=0).double()
    batch = batch_of(game, labels=torch.tensor([0, 1, 2, 0, 1, 1]))
    jacobian = GameJacobian(game, batch)
    w = random_vector(jacobian)
    assert_close(times(jacobian, w), difference(game, batch, w), atol=1e-6, rtol=1e-6)


def test_a_lazy_penalty_counts_with_its_mean_over_iterations(double):
    every = 4
    game, batch = double("NSGAN", penalties=[LazyPenalty(R1(2.0), every)])
    mean = GameJacobian(game, batch)
    w = random_vector(mean)
    batches = [replace(batch, index=i, random=replace(batch.random, iteration=i)) for i in range(every)]
    products = [times(GameJacobian(game, draw), w) for draw in batches]
    assert not torch.equal(products[0], products[1])
    assert_close(times(mean, w), torch.stack(products).mean(0))


# --- what a product is, and what it costs -----------------------------------------------------------------------------


@pytest.mark.parametrize("closed", [False, True], ids=["GameJacobian", "MatrixJacobian"])
def test_a_part_that_is_none_counts_as_zero(closed, double):
    jacobian = GameJacobian(*double("R3GAN"))
    matrix = dense(jacobian).matrix
    if closed:
        jacobian = MatrixJacobian(matrix, jacobian.sizes)
    first, second = by_player(random_vector(jacobian), jacobian.sizes)
    for w in ((first, None), (None, second)):
        whole = torch.cat(
            [torch.zeros(n, dtype=torch.float64) if p is None else p for p, n in zip(w, jacobian.sizes, strict=True)]
        )
        assert_close(torch.cat([jacobian.rows(player, w) for player in (0, 1)]), matrix @ whole)
        assert_close(torch.cat(jacobian.transposed(w)), matrix.T @ whole)


def test_products_are_counted_whole_and_in_parts(double):
    jacobian = GameJacobian(*double("NSGAN"))
    first, second = by_player(random_vector(jacobian), jacobian.sizes)
    assert (jacobian.field, jacobian.products)[1] == 0
    for ask, cost in [
        (lambda: times(jacobian, torch.cat([first, second])), 1),
        (lambda: jacobian.rows(0, (first, second)), 0.5),
        (lambda: jacobian.rows(1, (first, None)), 0.25),
        (lambda: jacobian.transposed((first, second)), 1),
        (lambda: jacobian.transposed((None, second)), 0.5),
    ]:
        before = jacobian.products
        ask()
        assert jacobian.products - before == cost


def test_a_probe_leaves_gradients_flags_randomness_and_the_game_alone(double):
    game, batch = double("WGANGP")
    for i, p in enumerate(game.parameters()):
        p.grad = torch.full_like(p, float(i))
    flags = [p.requires_grad for p in game.parameters()]
    state, before = torch.random.get_rng_state(), [p.detach().clone() for p in game.parameters()]
    jacobian = GameJacobian(game, batch)
    dense(jacobian), jacobian.transposed(jacobian.field), spectrum(jacobian, k=2)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [p.requires_grad for p in game.parameters()] == flags
    for i, (p, kept) in enumerate(zip(game.parameters(), before, strict=True)):
        assert torch.equal(p, kept)
        assert (p.grad == i).all()


def test_the_game_may_move_on(double):
    game, batch = double("NSGAN")
    jacobian = GameJacobian(game, batch)
    early = torch.cat(jacobian.field)
    w = random_vector(jacobian)
    product = times(jacobian, w)
    with torch.no_grad():
        for p in game.parameters():
            p += 1
    assert torch.equal(times(jacobian, w), product)
    assert not torch.equal(torch.cat(GameJacobian(game, batch).field), early)


def test_it_works_inside_inference_mode(double):
    game, batch = double("WGANGP")
    jacobian = GameJacobian(game, batch)
    w = random_vector(jacobian)
    with torch.inference_mode():
        inside = GameJacobian(game, replace(batch, real=batch.real + 0, z=batch.z + 0))
        assert torch.equal(times(inside, w + 0), times(jacobian, w))
        assert all(
            torch.equal(a, b)
            for a, b in zip(inside.transposed(inside.field), jacobian.transposed(jacobian.field), strict=True)
        )


def test_autocast_does_not_reach_it(double):
    game, batch = double("R3GAN")
    game.float()
    batch = replace(batch, real=batch.real.float(), z=batch.z.float())
    outside = GameJacobian(game, batch)
    w = random_vector(outside).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = GameJacobian(game, batch)
        product, field = times(inside, w), torch.cat(inside.field)
    assert product.dtype == field.dtype == torch.float32
    assert torch.equal(product, times(outside, w))
    assert torch.equal(field, torch.cat(outside.field))


@pytest.mark.filterwarnings("ignore")
def test_two_processes_have_the_products_of_one_on_the_joined_batch(gloo):
    alone = products_on_ranks(0, 1)
    for there in gloo(products_on_ranks):
        for found, expected in zip(there, alone, strict=True):
            assert_close(found, expected, rtol=1e-9, atol=1e-11)


# --- mistakes ---------------------------------------------------------------------------------------------------------


class Once(torch.autograd.Function):
    """tanh, with a backward that says it can't be differentiated."""

    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        return gradient * (1 - y * y)


class OnceLayer(nn.Module):
    """The function as a layer."""

    def forward(self, x):
        return Once.apply(x)


class Segments(nn.Module):
    """Sums over the numbers of a row by segment_reduce, whose backward has no derivative."""

    def forward(self, x):
        lengths = torch.full((len(x),), x.shape[1])
        return torch.segment_reduce(x.square().reshape(-1), "sum", lengths=lengths).unsqueeze(1)


@pytest.mark.parametrize("ask", ["field", "rows", "transposed"])
@pytest.mark.parametrize(
    ("layer", "named"), [(OnceLayer, "autograd.Function Once"), (Segments, "segment_reduce_backward")]
)
def test_an_operation_without_second_derivative_is_named_with_a_fix(layer, named, ask, batch_of):
    critic = Critic(nn.Linear(2, 4), layer(), nn.LazyLinear(1))
    critic(torch.zeros(2, 2))
    game = GANModule(MLPGenerator((2,), 3, 4, 1), critic, loss=NonSaturating(), ema_decay=0).double()
    jacobian = GameJacobian(game, batch_of(game))
    w = by_player(random_vector(jacobian), jacobian.sizes)
    asked = {
        "field": lambda: jacobian.field,
        "rows": lambda: jacobian.rows(0, w),
        "transposed": lambda: jacobian.transposed(w),
    }[ask]
    if ask == "field" and layer is Segments:
        assert torch.cat(asked()).isfinite().all()  # which first derivatives are enough for
        return
    with pytest.raises(NotTwiceDifferentiableError, match=rf"{named}[\s\S]*Replace it"):
        asked()


def test_batch_norm_under_a_gradient_penalty_is_named(batch_of):
    critic = Critic(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 1))
    game = GANModule(MLPGenerator((2,), 3, 4, 1), critic, loss=NonSaturating(), penalties=[R1()], ema_decay=0).double()
    jacobian = GameJacobian(game, batch_of(game))
    with pytest.raises(NotTwiceDifferentiableError, match="batch_norm"):
        times(jacobian, random_vector(jacobian))


def test_other_errors_of_a_network_come_through(batch_of):
    game = NSGAN(MLPGenerator((2,), 3, 4, 1), MLPDiscriminator((3,), 4, 1)).double()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        GameJacobian(game, batch_of(game)).field  # noqa: B018


def test_a_batch_without_rows(double):
    game, batch = double("NSGAN")
    with pytest.raises(ValueError, match="no rows"):
        GameJacobian(game, replace(batch, real=batch.real[:0]))


@pytest.mark.parametrize(("player", "name"), [(0, "generator"), (1, "discriminator")])
def test_a_player_without_trained_parameters(player, name, double):
    game, batch = double("NSGAN")
    game.players[player].requires_grad_(False)
    with pytest.raises(ValueError, match=f"The {name} has no trained parameters"):
        GameJacobian(game, batch)


def test_frozen_parameters_are_constants(double, check):
    game, batch = double("NSGAN")
    next(game.discriminator.parameters()).requires_grad_(False)
    jacobian = GameJacobian(game, batch)
    assert jacobian.sizes[1] == sum(p.numel() for p in game.discriminator.parameters() if p.requires_grad)
    check(game, batch, jacobian)


@pytest.mark.parametrize(
    "matrix", [torch.zeros(2, 3), torch.zeros(3, 3), torch.tensor([[0.0, float("nan")], [1.0, 0.0]])]
)
def test_a_matrix_that_is_no_jacobian(matrix):
    with pytest.raises(ValueError, match="matrix"):
        MatrixJacobian(matrix, (1, 1))


# --- a batch in pieces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["NSGAN", "WGANGP", "R3GAN", "R1GAN", "ConditionalGAN"])
def test_shards_of_a_batch_give_its_field_and_products_where_losses_are_means_over_rows(name, double):
    game, batch = double(name, rows=7)
    whole = GameJacobian(game, batch)
    w = torch.randn(sum(whole.sizes), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = w[: whole.sizes[0]], w[whole.sizes[0] :]
    for rows in (1, 3, 100):
        shards = GameJacobian(game, batch, rows_per_shard=rows)
        close = {"rtol": 0, "atol": 1e-10}
        assert_close(torch.stack(shards.losses), torch.stack(whole.losses), **close)
        assert_close(torch.cat(shards.field), torch.cat(whole.field), **close)
        assert_close(times(shards, w), times(whole, w), **close)
        assert_close(torch.cat(shards.transposed(parts)), torch.cat(whole.transposed(parts)), **close)
        assert_close(sum(shards.halves(parts)), times(whole, w), **close)
    with pytest.raises(ValueError, match="rows_per_shard=0"):
        GameJacobian(game, batch, rows_per_shard=0)


def test_halves_are_the_products_of_each_players_part(double):
    jacobian = GameJacobian(*double("NSGAN"))
    first, second = jacobian.sizes
    w = torch.randn(first + second, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    of_first, of_second = jacobian.halves((w[:first], w[first:]))
    alone = torch.cat([w[:first], torch.zeros_like(w[first:])])
    assert_close(of_first, times(jacobian, alone))
    assert_close(of_second, times(jacobian, w - alone))
