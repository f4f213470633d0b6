"""What every penalty promises."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from penalty_recipes import PENALTIES, penalty_on_ranks, remembering, terms, tiny_discriminator
from torch import nn
from torch.testing import assert_close

from gan_modules.batch import RandomRows

every_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=str)


@pytest.fixture
def evaluate(d_pass):
    """A function (penalty, discriminator, real, fake) -> the terms of both losses, on the second of two like draws."""

    def run(penalty, discriminator, real, fake, **kwargs):
        return terms(penalty, remembering(penalty, d_pass(discriminator, real, fake, penalty, **kwargs)))

    return run


@pytest.fixture
def rows():
    return torch.randn(2, 6, 3, dtype=torch.float64).unbind()


@every_penalty
def test_is_an_immutable_value(penalty):
    fields = [field.name for field in dataclasses.fields(penalty)]
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(penalty, fields[0], 3.0)
    assert len({penalty, copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))}) == 1
    number = next(name for name in fields if type(getattr(penalty, name)) in (int, float))
    assert dataclasses.replace(penalty, **{number: 7}) != penalty
    assert penalty.name


@every_penalty
def test_weighs_something_and_is_the_same_when_asked_twice(penalty, evaluate, rows):
    discriminator = tiny_discriminator()
    first, second = (evaluate(penalty, discriminator, *rows) for _ in range(2))
    assert first
    for value, again in zip(first, second, strict=True):
        assert value.shape == ()
        assert value > 0
        assert torch.equal(value, again)


@every_penalty
def test_takes_its_random_numbers_from_the_batch_by_names_of_its_own(penalty, d_pass, rows, monkeypatch):
    asked = []
    right = RandomRows._generator

    def record(self, name):
        asked.append(self.prefix + name)
        return right(self, name)

    monkeypatch.setattr(RandomRows, "_generator", record)
    before = torch.get_rng_state()
    terms(penalty, remembering(penalty, d_pass(tiny_discriminator(), *rows, penalty)))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(asked) == len(set(asked))  # two uses of one name would be the same numbers


@every_penalty
def test_is_the_same_by_the_shared_forward_and_by_one_of_its_own(penalty, d_pass, rows):
    discriminator, layers = tiny_discriminator(), penalty.layers
    shared = d_pass(discriminator, *rows, penalty)
    own = type(shared)(discriminator, shared.batch, *rows, layers=layers, joint=False)
    for d in (shared, own):
        remembering(penalty, d)
    assert_close(terms(penalty, shared), terms(penalty, own), rtol=1e-12, atol=0)


def derivatives(evaluate, penalty, discriminator, rows, direction):
    """A function (step) -> the penalty and its gradient in D's parameters, from there moved along a direction."""
    parameters = {name: p.detach() for name, p in discriminator.named_parameters()}
    network = copy.deepcopy(discriminator)

    def at(step):
        with torch.no_grad():
            for name, p in network.named_parameters():
                p.copy_(parameters[name] + step * direction[name])
        value = sum(evaluate(penalty, network, *rows))
        gradient = torch.autograd.grad(value, list(network.parameters()), create_graph=True, materialize_grads=True)
        return value.detach(), gradient, list(network.parameters())

    return at


@every_penalty
def test_first_and_second_derivatives_are_those_of_finite_differences(penalty, d_pass, rows):
    # with the memory held still, as a loss sees it
    discriminator = tiny_discriminator()
    memory = remembering(penalty, d_pass(discriminator, *rows, penalty)).memory
    direction = {name: torch.randn_like(p) for name, p in discriminator.named_parameters()}

    def evaluate(penalty, network, *points):
        d = d_pass(network, *points, penalty)
        d.memory = memory
        return terms(penalty, d)

    at = derivatives(evaluate, penalty, discriminator, rows, direction)
    h = 1e-5
    (up, up_gradient, _), (down, down_gradient, _) = at(h), at(-h)
    up_gradient, down_gradient = ([g.detach() for g in gradient] for gradient in (up_gradient, down_gradient))
    _, gradient, parameters = at(0.0)
    slope = sum(
        (direction[name] * g).sum() for (name, _), g in zip(discriminator.named_parameters(), gradient, strict=True)
    )
    assert_close(slope.detach(), (up - down) / (2 * h), rtol=1e-6, atol=1e-9)
    products = torch.autograd.grad(slope, parameters, allow_unused=True, materialize_grads=True)
    for product, above, below in zip(products, up_gradient, down_gradient, strict=True):
        assert_close(product, (above - below) / (2 * h), rtol=1e-5, atol=1e-7)


@every_penalty
def test_derivatives_are_finite_where_the_input_gradient_is_zero(penalty, evaluate, rows):
    discriminator = tiny_discriminator()
    nn.init.zeros_(discriminator[-1].weight)
    value = sum(evaluate(penalty, discriminator, *rows))
    parameters = list(discriminator.parameters())
    gradient = torch.autograd.grad(value, parameters, create_graph=True, materialize_grads=True)
    total = sum((g * torch.randn_like(g)).sum() for g in gradient)
    # the game's Jacobian differentiates the gradient once more
    products = torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True)
    for tensor in (value, *gradient, *products):
        assert torch.isfinite(tensor).all()


@every_penalty
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float32], ids=["half generator", "float generator"])
def test_is_computed_in_float32_under_autocast(penalty, half, evaluate, rows):
    discriminator = tiny_discriminator().float()
    real, fake = (points.float() for points in rows)
    fake = fake.to(half)  # what a generator gives under autocast
    expected = evaluate(penalty, discriminator, real, fake.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = evaluate(penalty, discriminator, real, fake)
    for value, precise in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        assert_close(value, precise, rtol=0.1, atol=1e-3)  # logits and features come in three digits


@every_penalty
def test_two_processes_equal_the_joined_batch(penalty, gloo):
    index = PENALTIES.index(penalty)
    expected = penalty_on_ranks(0, 1, index)
    for found in gloo(penalty_on_ranks, index):
        assert_close(found, expected, rtol=1e-10, atol=1e-12)
