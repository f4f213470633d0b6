"""What every penalty promises."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

from gan_modules import penalties
from gan_modules.penalties import R1, LazyPenalty, Penalty

_CONCRETE = [
    item
    for item in (getattr(penalties, name) for name in penalties.__all__)
    if issubclass(item, Penalty) and item not in (Penalty, LazyPenalty)
]
PENALTIES = [*(cls() for cls in _CONCRETE), LazyPenalty(R1(), every=2)]

every_penalty = pytest.mark.parametrize("penalty", PENALTIES, ids=lambda p: type(p).__name__)


@every_penalty
def test_is_an_immutable_value(penalty):
    field = dataclasses.fields(penalty)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(penalty, field, 3.0)
    assert len({penalty, copy.deepcopy(penalty), pickle.loads(pickle.dumps(penalty))}) == 1
    assert dataclasses.replace(penalty, **{dataclasses.fields(penalty)[-1].name: 3}) != penalty
    assert penalty.name


@every_penalty
def test_is_a_scalar_that_is_the_same_when_asked_twice(penalty, smooth, d_pass):
    discriminator = smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    first, second = (penalty.discriminator(d_pass(discriminator, real, fake, penalty)) for _ in range(2))
    assert first.shape == ()
    assert first > 0
    assert torch.equal(first, second)


@every_penalty
def test_is_the_same_by_the_shared_forward_and_by_one_of_its_own(penalty, smooth, d_pass):
    discriminator = smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    assert_close(
        penalty.discriminator(d_pass(discriminator, real, fake, penalty)),
        penalty.discriminator(d_pass(discriminator, real, fake)),
        rtol=1e-12,
        atol=0,
    )


@every_penalty
def test_gradient_of_the_parameters_is_that_of_finite_differences(penalty, smooth, d_pass):
    discriminator = smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    parameters = {name: p.detach() for name, p in discriminator.named_parameters()}
    direction = {name: torch.randn_like(p) for name, p in parameters.items()}

    def value(step):
        moved = {name: p + step * direction[name] for name, p in parameters.items()}
        network = torch.nn.Module()
        network.forward = lambda x: functional_call(discriminator, moved, x)
        return penalty.discriminator(d_pass(network, real, fake, penalty)).detach()

    penalty.discriminator(d_pass(discriminator, real, fake, penalty)).backward()
    slope = sum((direction[name] * p.grad).sum() for name, p in discriminator.named_parameters() if p.grad is not None)
    h = 1e-5
    assert_close(slope, (value(h) - value(-h)) / (2 * h), rtol=1e-7, atol=1e-9)


@every_penalty
def test_is_a_mean_over_rows_of_norms_per_row(penalty, smooth, d_pass):
    # with fakes equal to the real rows, where a point between both is both
    discriminator = smooth()
    real = torch.randn(4, 3, dtype=torch.float64)
    whole = penalty.discriminator(d_pass(discriminator, real, real.clone(), penalty))
    single = [penalty.discriminator(d_pass(discriminator, r[None], r[None].clone(), penalty)) for r in real]
    assert_close(whole, torch.stack(single).mean())


@every_penalty
def test_no_nan_where_the_input_gradient_is_zero(penalty, linear, d_pass):
    discriminator = linear(torch.zeros(3))
    value = penalty.discriminator(d_pass(discriminator, torch.randn(4, 3), torch.randn(4, 3), penalty))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(discriminator.w.grad).all()


@every_penalty
@pytest.mark.parametrize("half", [torch.bfloat16, torch.float32], ids=["half generator", "float generator"])
def test_is_computed_in_float32_under_autocast(penalty, half, smooth, d_pass):
    discriminator = smooth(torch.float32)
    real, fake = torch.randn(2, 6, 3)
    fake = fake.to(half)  # what a generator gives under autocast
    expected = penalty.discriminator(d_pass(discriminator, real, fake.float(), penalty))
    gradients = torch.autograd.grad(expected, discriminator[0].weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        d = d_pass(discriminator, real, fake, penalty)
        assert d.real_logits.dtype == torch.bfloat16
        value = penalty.discriminator(d)
    assert value.dtype == torch.float32
    assert_close(value, expected, rtol=1e-5, atol=0)
    assert_close(torch.autograd.grad(value, discriminator[0].weight), gradients, rtol=1e-4, atol=1e-6)


@every_penalty
def test_is_exact_for_a_linear_discriminator_under_autocast(penalty, linear, d_pass):
    discriminator = linear([0.1, -0.7, 0.3])  # none of which bfloat16 can hold
    real, fake = torch.randn(2, 6, 3)
    expected = penalty.discriminator(d_pass(discriminator, real, fake, penalty))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = penalty.discriminator(d_pass(discriminator, real, fake, penalty))
    assert torch.equal(value, expected)
