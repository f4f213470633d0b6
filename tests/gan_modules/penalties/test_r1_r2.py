"""The zero-centred gradient penalties against their closed forms."""

from __future__ import annotations

import re

import pytest
import torch
from torch.testing import assert_close

from gan_modules.networks import Packed
from gan_modules.penalties import R1, R2

both = pytest.mark.parametrize(("penalty", "side"), [(R1(0.7), 0), (R2(0.7), 1)], ids=["R1", "R2"])


@both
def test_of_a_linear_discriminator(penalty, side, linear, d_pass):
    w = torch.tensor([0.3, -1.2, 0.5, 2.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, 2, dtype=torch.float64)
    value = penalty.discriminator(d_pass(linear(w), real, fake, penalty))
    assert_close(value, 0.7 / 2 * w.square().sum())


@both
def test_of_a_quadratic_discriminator_and_its_gradient(penalty, side, quadratic, d_pass):
    a = torch.randn(3, 3, dtype=torch.float64)
    a = a + a.T
    discriminator = quadratic(a)
    points = torch.randn(2, 7, 3, dtype=torch.float64)
    x = points[side]
    value = penalty.discriminator(d_pass(discriminator, *points, penalty))
    slopes = x @ a  # rows A x
    assert_close(value, 0.7 / 2 * slopes.square().sum(1).mean())
    value.backward()
    # d/dA of |(A + A^T) x / 2|^2 / 2 is (A x x^T + x x^T A) / 2
    outer = torch.einsum("bi,bj->bij", slopes, x).mean(0)
    assert_close(discriminator.a.grad, 0.7 * (outer + outer.T) / 2)


@both
def test_reads_its_own_rows_only(penalty, side, smooth, d_pass):
    points = torch.randn(2, 6, 3, dtype=torch.float64).requires_grad_()
    real, fake = points.unbind()
    (gradient,) = torch.autograd.grad(penalty.discriminator(d_pass(smooth(), real, fake, penalty)), points)
    assert (gradient[side].norm(dim=1) > 0).all()
    assert torch.equal(gradient[1 - side], torch.zeros_like(gradient[1 - side]))


def test_are_equal_where_generator_and_data_agree(smooth, d_pass):
    discriminator, x = smooth(), torch.randn(6, 3, dtype=torch.float64)
    d = d_pass(discriminator, x, x.clone(), R1(), R2())
    assert_close(R1().discriminator(d), R2().discriminator(d))


@both
def test_of_packs_is_the_norm_in_all_rows_of_a_pack(penalty, side, linear, d_pass):
    w = torch.tensor([0.3, -1.2, 0.5, 2.0, 1.0, -0.4], dtype=torch.float64)
    real, fake = torch.randn(2, 8, 3, dtype=torch.float64)
    value = penalty.discriminator(d_pass(Packed(linear(w), 2), real, fake, penalty))
    assert_close(value, 0.7 / 2 * w.square().sum())


@pytest.mark.parametrize("penalty", [R1, R2])
def test_gamma_from_resolution_and_batch(penalty, linear, d_pass):
    # Training GANs with limited data, public code: 0.0002 resolution^2 / batch; 256 pixels and 64 rows: 0.2048
    w = torch.ones(3 * 16 * 8, dtype=torch.float64)
    real, fake = torch.randn(2, 4, 3, 16, 8, dtype=torch.float64)
    auto, given = penalty("auto"), penalty(0.0002 * 16 * 8 / 4)
    d = d_pass(linear(w), real, fake, auto)
    assert_close(auto.discriminator(d), given.discriminator(d), rtol=1e-12, atol=0)


@pytest.mark.parametrize("penalty", [R1, R2])
def test_gamma_that_cannot_be_derived_is_named(penalty, linear, d_pass):
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="gamma='auto' with samples of shape"):
        penalty("auto").discriminator(d_pass(linear(torch.ones(3)), x, x))


@pytest.mark.parametrize("penalty", [R1, R2])
@pytest.mark.parametrize("gamma", [-1.0, float("nan"), "large"])
def test_gamma_that_is_no_weight_is_refused_when_it_is_given(penalty, gamma):
    with pytest.raises(ValueError, match=re.escape(f"{penalty.__name__}(gamma={gamma!r})")):
        penalty(gamma)
