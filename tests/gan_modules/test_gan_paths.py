"""One batch, two paths: the training path costs less than the pure one, and has its gradients."""

from __future__ import annotations

import pytest
import torch
from recipes import needs, still
from torch import nn
from torch.nn.functional import one_hot
from torch.testing import assert_close

from gan_modules import NSGAN, R3GAN, WGANGP
from gan_modules.penalties import R1, R2, GradientPenalty, LazyPenalty
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, PLAYER_NAMES, Game, Sampler
from gan_modules.rules import Alternating, Simultaneous

every_player = pytest.mark.parametrize("player", [GENERATOR, DISCRIMINATOR], ids=PLAYER_NAMES)
MORE = {
    "": (),
    "R1": (R1(0.5),),
    "R1+R2": (R1(0.5), R2(0.5)),
    "lazy": (LazyPenalty(R1(0.5), every=2), LazyPenalty(R2(0.5), every=3)),
}


def batch_of(game_batch, variant=None, *, classes=None, n=6, index=0):
    classes = needs(variant.__name__).get("num_classes", classes) if variant else classes
    labels = None if classes is None else torch.randint(classes, (n,))
    real, z = torch.randn(n, 2, dtype=torch.float64), torch.randn(n, 3, dtype=torch.float64)
    return game_batch(real, z, labels, index=index)


def gradients(module, player, batch):
    parameters = list(module.players[player].parameters())
    return torch.autograd.grad(module.player_loss(player, batch), parameters, materialize_grads=True)


def filled(module, player):
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in module.players[player].parameters()]


@pytest.fixture
def watch_generator():
    """A function (module) -> a list of whether each forward of its generator from now on had a graph."""

    def watch(module):
        graphs = []
        module.generator.register_forward_hook(lambda module, inputs, output: graphs.append(output.requires_grad))
        return graphs

    return watch


# --- the two paths ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [None, 4])
@pytest.mark.parametrize("penalties", MORE.values(), ids=MORE.keys())
@pytest.mark.parametrize("shared", [True, False])
def test_training_has_the_gradients_of_the_pure_path(variant, penalties, classes, shared, tiny, alone, game_batch):
    if variant.__name__ == "PacGAN" and classes:
        pytest.skip("a pack has several classes")
    given = ({"num_classes": classes} if classes else {}) | ({"penalties": penalties} if penalties else {})
    module = still(alone(tiny(variant, **given))).double()
    classes = module.num_classes
    for index in range(3):
        batch = batch_of(game_batch, classes=classes, index=index)
        module.gradient(DISCRIMINATOR, batch, shared=shared)
        assert_close(
            filled(module, DISCRIMINATOR), list(gradients(module, DISCRIMINATOR, batch)), rtol=1e-9, atol=1e-12
        )
        module.gradient(GENERATOR, batch)
        assert_close(filled(module, GENERATOR), list(gradients(module, GENERATOR, batch)), rtol=1e-9, atol=1e-12)


@every_player
def test_gradient_leaves_the_other_player_alone(variant, player, tiny, alone, game_batch):
    module = still(alone(tiny(variant))).double()
    batch = batch_of(game_batch, variant)
    module.gradient(player, batch)
    other = list(module.players[1 - player].parameters())
    assert all(p.grad is None for p in other)
    for p in other:
        p.grad = torch.full_like(p, 7.0)
    module.gradient(player, batch)
    assert all((p.grad == 7).all() for p in other)
    assert all(p.requires_grad for p in other)


def test_gradient_replaces_the_last_one(variant, tiny, alone, game_batch):
    module = still(alone(tiny(variant))).double()
    batch = batch_of(game_batch, variant)
    module.gradient(DISCRIMINATOR, batch_of(game_batch, variant))
    module.gradient(DISCRIMINATOR, batch)
    assert_close(filled(module, DISCRIMINATOR), list(gradients(module, DISCRIMINATOR, batch)))


def test_forwards_of_the_generator(tiny, alone, game_batch, watch_generator):
    module = alone(tiny(WGANGP)).double()
    graphs, batch = watch_generator(module), batch_of(game_batch)
    module.gradient(DISCRIMINATOR, batch)
    assert graphs == [False]  # none to throw away
    module.gradient(DISCRIMINATOR, batch, shared=True)
    module.gradient(GENERATOR, batch)
    assert graphs == [False, True]  # one for both
    module.gradient(GENERATOR, batch)
    assert graphs == [False, True, True]  # used up
    module.gradient(DISCRIMINATOR, batch, shared=True)
    module.gradient(GENERATOR, batch_of(game_batch))
    assert graphs == [False, True, True, True, True]  # of another batch


def test_discriminators_step_never_reaches_into_the_generator(variant, tiny, alone, game_batch):
    module, seen = still(alone(tiny(variant))).double(), []
    module.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].grad_fn))
    module.gradient(DISCRIMINATOR, batch_of(game_batch, variant), shared=True)
    # what D is given was made by no network: its graph, if any, ends in no parameter of G
    generator = {id(p) for p in module.generator.parameters()}
    found = [node for node in seen if node]
    while found:
        node = found.pop()
        assert id(getattr(node, "variable", None)) not in generator
        found.extend(parent for parent, _ in node.next_functions if parent)


def test_kept_forward_is_dropped_when_the_generator_moves(tiny, alone, game_batch, watch_generator):
    module = alone(tiny(NSGAN)).double()
    batch = batch_of(game_batch)
    module.gradient(DISCRIMINATOR, batch, shared=True)
    with torch.no_grad():
        next(module.generator.parameters()).add_(0.1)
    module.project(GENERATOR)  # as after each of its steps
    module.gradient(GENERATOR, batch)
    assert_close(filled(module, GENERATOR), list(gradients(module, GENERATOR, batch)))


@pytest.mark.parametrize(
    ("rule", "graphs"),
    [(Simultaneous(), [True]), (Alternating(), [True]), (Alternating(3), [False, False, True])],
    ids=repr,
)
def test_forwards_of_an_iteration(rule, graphs, tiny, fit, watch_generator):
    module = tiny(WGANGP, rule=rule)
    seen = watch_generator(module)
    fit(module, 2)
    assert seen == [False, *graphs, *graphs]  # the first is the check before training


@pytest.mark.parametrize(
    ("cls", "critic", "generator"),
    [
        (NSGAN, [8], [4]),  # real and fake rows together; fakes alone
        (WGANGP, [8, 4], [4]),  # and the points between
        (R3GAN, [8], [4, 4]),  # the generator's loss reads both, and only fakes take a gradient
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_rows_that_the_discriminator_sees_in_an_iteration(cls, critic, generator, tiny, fit):
    module, seen = tiny(cls, rule=Alternating(3)), []
    module.discriminator.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    fit(module, 1)
    assert seen[1:] == critic * 3 + generator  # the first is the check before training


class Conditioned(nn.Module):
    """A network that takes the class beside its input, where there are classes."""

    def __init__(self, network, classes):
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x, labels=None):
        return self.network(torch.cat([x, one_hot(labels, self.classes).to(x)], 1) if self.classes else x)


# --- the pure path ---------------------------------------------------------------------------------------------------


@pytest.fixture
def smooth_game(game_batch):
    """A function (variant) -> (module between networks with no kinks, batch), in float64."""

    def build(cls):
        name, asked = cls.__name__, needs(cls.__name__)
        classes = asked.get("num_classes", 0)
        generator, discriminator = (
            Conditioned(nn.Sequential(nn.Linear(size + classes, 4), nn.Tanh(), nn.Linear(4, out)), classes)
            for size, out in ((3, 2), (4 if name == "PacGAN" else 2, 1))
        )
        module = still(cls(generator, discriminator, latent_dim=3, **asked)).double()
        return module, batch_of(game_batch, cls)

    return build


def test_loss_of_a_player_depends_on_both(variant, smooth_game):
    module, batch = smooth_game(variant)
    for player in (GENERATOR, DISCRIMINATOR):
        for other in module.players:
            slopes = torch.autograd.grad(module.player_loss(player, batch), list(other.parameters()), allow_unused=True)
            assert sum(s.abs().sum() for s in slopes if s is not None) > 0


@every_player
def test_mixed_second_derivatives_are_those_of_finite_differences(variant, player, smooth_game):
    # d^2 L_player / d own d other, which the game's Jacobian is made of, along a direction in each
    module, batch = smooth_game(variant)
    own, other = ([*module.players[p].parameters()] for p in (player, 1 - player))
    along_own, along_other = ([torch.randn_like(p) for p in group] for group in (own, other))

    def slope():
        grads = torch.autograd.grad(module.player_loss(player, batch), own, create_graph=True, materialize_grads=True)
        return sum((g * d).sum() for g, d in zip(grads, along_own, strict=True))

    def moved(step):
        with torch.no_grad():
            torch._foreach_add_(other, along_other, alpha=step)
        value = slope().detach()
        with torch.no_grad():
            torch._foreach_add_(other, along_other, alpha=-step)
        return value

    mixed = torch.autograd.grad(slope(), other, materialize_grads=True)
    found = sum((m * d).sum() for m, d in zip(mixed, along_other, strict=True))
    h = 1e-5
    assert found.abs() > 1e-4
    assert_close(found, (moved(h) - moved(-h)) / (2 * h), rtol=1e-6, atol=1e-8)


def test_pure_path_is_a_function_of_parameters_and_batch(variant, tiny, game_batch):
    module = still(tiny(variant)).double()
    batch = batch_of(game_batch, variant)
    first = [module.player_loss(p, batch) for p in (0, 1)]
    torch.manual_seed(5)
    assert [module.player_loss(p, batch) for p in (0, 1)] == first
    assert all(p.grad is None for p in module.parameters())
    assert isinstance(module, Game)
    assert isinstance(module, Sampler)


# --- composition -----------------------------------------------------------------------------------------------------


def test_penalties_add_to_the_discriminators_loss_alone(tiny, game_batch):
    penalties = (GradientPenalty(3.0), LazyPenalty(R1(0.5), every=2), R2(0.2))
    plain, full = tiny(NSGAN).double(), tiny(NSGAN, penalties=penalties).double()
    for index in (0, 1):
        batch = batch_of(game_batch, index=index)
        terms = [tiny(NSGAN, penalties=(p,)).double().player_loss(1, batch) for p in penalties]
        base = plain.player_loss(1, batch)
        assert_close(full.player_loss(1, batch), base + sum(term - base for term in terms))
        assert torch.equal(full.player_loss(0, batch), plain.player_loss(0, batch))


def test_penalties_of_one_name_add_up_and_are_logged_apart(tiny, game_batch):
    batch = game_batch(torch.randn(6, 2), torch.randn(6, 3))
    parts = [R1(0.5), R1(2.0), LazyPenalty(R1(1.0), 1)]
    one, three = tiny(NSGAN, penalties=[R1(3.5)]), tiny(NSGAN, penalties=parts)
    assert_close(three.player_loss(DISCRIMINATOR, batch), one.player_loss(DISCRIMINATOR, batch))
    three.training_loss(DISCRIMINATOR, batch)
    assert [name for name in three._record.names if name.startswith("penalty")] == [
        "penalty/R1",
        "penalty/R1/2",
        "penalty/R1/3",
    ]
