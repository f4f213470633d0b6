"""Integral probability metrics against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules import IPMGAN
from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses import (
    Bounded,
    FisherBall,
    FunctionClass,
    GaussianKernel,
    Hinge,
    KernelBall,
    Lipschitz,
    MeanFeatures,
    RationalQuadraticKernel,
    SobolevBall,
    Wasserstein,
)
from gan_modules.losses.kernels import squared_distances
from gan_modules.penalties import R2, GradientPenalty, Orthonormal, SpectralNorm, WeightClipping

EVERY_P = [1.0, 1.5, 2.0, 4.0, math.inf]


# --- bounded functions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "per_variation"), [(0.5, 1.0), (1.0, 2.0)])
def test_bounded_gives_the_total_variation_at_the_optimal_discriminator(bound, per_variation, said):
    p, q = torch.tensor([[4, 3, 2, 1], [1, 1, 5, 3]])
    surest = 50.0 * torch.sign(p - q).double()  # f = bound where p > q, -bound where q > p
    loss = Bounded(bound)
    value = loss.difference(said(loss, surest.repeat_interleave(p), surest.repeat_interleave(q)))
    assert_close(value, per_variation * 0.5 * (p - q).abs().double().sum() / 10)


# --- Lipschitz functions ----------------------------------------------------------------------------------------------


def test_lipschitz_brings_what_keeps_the_slope():
    assert Lipschitz().penalties == (GradientPenalty(),)
    assert Lipschitz().constraint is None
    for constraint in (WeightClipping(), SpectralNorm(), Orthonormal()):
        assert Lipschitz(constraint).constraint == constraint
        assert Lipschitz(constraint).penalties == ()


def test_lipschitz_is_the_wasserstein_loss_with_what_keeps_the_slope():
    assert isinstance(Lipschitz(), Wasserstein)
    assert Lipschitz() != Wasserstein()
    assert Wasserstein().penalties == ()
    assert Wasserstein().needs_bounded_slope
    # so that it can be taken with penalties and constraints of one's own
    assert isinstance(Wasserstein(), FunctionClass)


# --- kernels ----------------------------------------------------------------------------------------------------------


def test_kernels_are_their_formulas():
    x, y = torch.randn(5, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    squared = (x[:, None] - y).square().sum(2)
    assert_close(squared_distances(x + 1e3, y + 1e3), squared)
    assert_close(GaussianKernel((0.7, 2.0))(x, y), (-squared / 0.98).exp() + (-squared / 8).exp())
    assert_close(RationalQuadraticKernel((0.5, 3.0))(x, y), (1 + squared) ** -0.5 + (1 + squared / 6) ** -3)


@pytest.mark.parametrize("kernel", [GaussianKernel(), RationalQuadraticKernel()])
def test_kernels_differentiate_twice_where_points_coincide(kernel):
    x = torch.zeros(1, 2, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda t: kernel(t[None], x).sum(), torch.zeros(2, dtype=torch.float64))
    curvature = sum(1 / s**2 for s in kernel.bandwidths) if isinstance(kernel, GaussianKernel) else len(kernel.alphas)
    assert_close(hessian, -curvature * torch.eye(2, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4,), (4, 1, 8, 8)])
def test_kernels_refuse_unflattened_points(shape):
    with pytest.raises(ValueError, match=r"Flatten each row"):
        GaussianKernel()(torch.zeros(shape), torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianKernel((1.0, 0.0)), "bandwidths"),
        (lambda: GaussianKernel(()), "at least one"),
        (lambda: RationalQuadraticKernel((-1.0,)), "alphas"),
        (lambda: KernelBall(on="images"), "'outputs' or 'samples'"),
        (lambda: Bounded(0.0), "positive"),
        (lambda: MeanFeatures(p=0.5), "p from 1 to inf"),
        (lambda: FisherBall(rho=0.0), r"FisherBall\(rho=0.0\)"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KernelBall("gaussian"), r"KernelBall\(kernel='gaussian'\).*Kernel, as GaussianKernel\(\)"),
        (lambda: Lipschitz(GaussianKernel()), r"Lipschitz\(by=GaussianKernel\(.*Penalty or a Constraint"),
        (lambda: Lipschitz(None), r"Lipschitz\(by=None\).*Wasserstein\(\)"),
        (
            lambda: IPMGAN(None, None, function_class=Hinge()),
            r"IPMGAN\(function_class=Hinge\(\)\).*FunctionClass, as Bounded\(\)",
        ),
    ],
)
def test_parts_of_another_kind_are_named_with_those_that_are_asked_for(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# --- the kernel's ball ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["outputs", "samples"])
@pytest.mark.parametrize("kernel", [GaussianKernel((0.5, 1.0)), RationalQuadraticKernel()])
def test_mmd_is_the_mean_over_all_pairs(kernel, on, said, vector):
    real, fake = torch.randn(2, 6, 2)
    loss = KernelBall(kernel, on)
    total = 0.0
    for i in range(6):
        for j in range(6):
            pairs = ((real, real, 30), (fake, fake, 30)) if i != j else ()
            total += sum(kernel(x[i : i + 1], y[j : j + 1]).item() / count for x, y, count in pairs)
            total -= kernel(real[i : i + 1], fake[j : j + 1]).item() * 2 / 36
    d = said(loss, real, fake, vector)
    assert loss.difference(d).item() == pytest.approx(total, rel=1e-5)
    assert loss.generator(d).item() == pytest.approx(total, rel=1e-5)
    assert loss.discriminator(d).item() == pytest.approx(-total if on == "outputs" else 0, rel=1e-5)


def test_mmd_of_two_gaussians(said):
    # E exp(-|x - y|^2 / (2 s^2)), x - y ~ N(m, 2) in one dimension: sqrt(s^2 / (s^2 + 2)) exp(-m^2 / (2 (s^2 + 2)))
    m, s = 1.5, 0.8
    same = math.sqrt(s**2 / (s**2 + 2))
    expected = 2 * same * (1 - math.exp(-(m**2) / (2 * (s**2 + 2))))
    levels = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    x = torch.special.ndtri(levels)
    loss = KernelBall(GaussianKernel((s,)))
    # quantiles are no sample, so their own pairs count: the diagonal is 1 / n of the mean, which the estimate lacks
    value = loss.difference(said(loss, x, x + m)).item()
    assert value == pytest.approx(expected - 2 * (1 - same) / 3999, abs=2e-5)


def test_mmd_is_unbiased_for_equal_distributions(said):
    loss = KernelBall(GaussianKernel((1.0,)))
    values = torch.stack([loss.difference(said(loss, *torch.randn(2, 8))) for _ in range(400)])
    assert values.min() < 0
    assert abs(values.mean()) < 3 * values.std() / 20


def test_witness_is_what_a_gradient_penalty_bounds(d_pass, vector):
    real, fake = torch.randn(2, 6, 2, dtype=torch.float64)
    loss = KernelBall(GaussianKernel((0.9,)))
    fake.requires_grad_()  # as in a game's Jacobian, where the fakes are the generator's
    d = DiscriminatorPass(vector, d_pass(vector, real, fake).batch, real, fake, witness=loss.critic)
    difference = fake.detach()[:, None] - torch.stack([real, fake.detach()])[:, None]  # (2, 6, 6, 2)
    weight = (-difference.square().sum(3) / (2 * 0.81)).exp()[..., None] * -difference / 0.81
    assert_close(d.gradient("fake"), weight[0].mean(1) - weight[1].mean(1))
    assert_close(R2(0.3).discriminator(d), 0.15 * d.gradient("fake").square().sum(1).mean())


def test_witness_has_the_discrepancy_between_its_means(said, vector):
    loss = KernelBall(GaussianKernel((0.9,)))
    d = said(loss, *torch.randn(2, 6, 2), vector)
    biased = loss.critic(d.real_logits, d).mean() - loss.critic(d.fake_logits, d).mean()
    k = [loss.kernel(x, x) for x in (d.real, d.fake)]
    unbiased = biased - sum(m.mean() - (m.sum() - m.trace()) / 30 for m in k)
    assert_close(loss.difference(d), unbiased)


def test_one_row_has_no_pairs(said):
    loss = KernelBall()
    with pytest.raises(ValueError, match="two rows"):
        loss.difference(said(loss, torch.zeros(1), torch.zeros(1)))


# --- balls of mean squares --------------------------------------------------------------------------------------------


def test_fisher_gives_the_chi_squared_distance_at_the_optimal_discriminator(said):
    p, q = torch.tensor([[4, 3, 2, 1], [1, 1, 5, 3]])  # tenths
    distance = math.sqrt(((p - q).double().square() / 100 / ((p + q) / 20)).sum())
    optimal = ((p - q) / (p + q) * 2 / distance).double().requires_grad_()
    loss = FisherBall(rho=0.3)
    d = said(loss, *(optimal[torch.arange(4).repeat_interleave(counts)] for counts in (p, q)))
    assert_close(loss.difference(d).item(), distance)
    assert_close(loss.omega(d).item(), 1.0)
    # a saddle of the Lagrangian with lambda at half the distance
    d.memory = {"multiplier": torch.tensor(distance / 2)}
    (gradient,) = torch.autograd.grad(loss.discriminator(d), optimal)
    assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-7)
    assert_close(loss.update(d), d.memory)


def test_fisher_value_of_a_known_function(said):
    loss = FisherBall(rho=0.5)
    d = said(loss, [1.0, 3.0], [0.0, -1.0])  # difference 2.5, Omega (5 + 0.5) / 2 = 2.75
    d.memory = {"multiplier": torch.tensor(0.2)}
    assert loss.discriminator(d).item() == pytest.approx(-2.5 + 0.2 * 1.75 + 0.25 * 1.75**2)
    assert loss.generator(d).item() == pytest.approx(0.5)
    assert loss.update(d)["multiplier"].item() == pytest.approx(0.2 + 0.5 * 1.75)


def test_multiplier_adds_up_steps_that_float32_would_lose(said):
    loss = FisherBall(rho=1e-6)
    d = said(loss, [1.02**0.5] * 2, [-(1.02**0.5)] * 2)
    assert loss.omega(d).item() - 1 == pytest.approx(0.02)
    d.memory = {name: value + 0.5 for name, value in loss.init().items()}
    for _ in range(1000):
        d.memory = loss.update(d)
    assert d.memory["multiplier"].item() - 0.5 == pytest.approx(1000 * 1e-6 * 0.02, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_multiplier_leaves_the_precision_of_the_loss_alone(dtype, d_pass):
    loss = FisherBall()
    d = d_pass(nn.Linear(2, 1).to(dtype), *torch.randn(2, 6, 2).to(dtype), loss)
    assert loss.discriminator(d).dtype == d.mean(d.real_logits).dtype


def test_sobolev_value_of_a_known_function(quadratic, d_pass):
    # D(x) = x^T A x / 2: gradient A x
    a = torch.tensor([[1.0, 0.5], [0.5, -2.0]], dtype=torch.float64)
    real, fake = torch.randn(2, 6, 2, dtype=torch.float64)
    loss = SobolevBall(rho=0.5)
    d = d_pass(quadratic(a), real, fake, loss)
    omega = ((real @ a).square().sum(1).mean() + (fake @ a).square().sum(1).mean()) / 2
    assert_close(loss.omega(d).detach(), omega)
    d.memory = {"multiplier": torch.tensor(0.2, dtype=torch.float64)}
    excess = omega - 1
    expected = d.fake_logits.mean() - d.real_logits.mean() + 0.2 * excess + 0.25 * excess**2
    assert_close(loss.discriminator(d).detach(), expected.detach())
    assert_close(loss.update(d)["multiplier"].detach(), 0.2 + 0.5 * excess)


def test_sobolev_gives_the_distance_of_distribution_functions(d_pass):
    # p uniform on [0, 1], q of density 2 (1 - t): f' = -(F_p - F_q) / mu up to a factor, with F_p - F_q = t^2 - t
    class Optimal(nn.Module):
        def forward(self, x):
            t = x[:, 0]
            # int (t - t^2) / (3 / 2 - t) dt = t^2 / 2 + t / 2 + (3 / 4) log(3 / 2 - t)
            return t.square() / 2 + t / 2 + 0.75 * (1.5 - t).log()

    levels = (torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 20_000
    loss = SobolevBall()
    d = d_pass(Optimal(), levels, 1 - (1 - levels).sqrt(), loss)
    squared = 9 * math.log(3) / 16 - 7 / 12  # int_0^1 (t - t^2)^2 / (3 / 2 - t) dt
    value = loss.difference(d) / loss.omega(d).sqrt()
    assert value.item() == pytest.approx(math.sqrt(squared), rel=1e-4)


# --- mean features ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", EVERY_P)
def test_mean_features_take_the_best_direction_of_the_ball(p, said, vector):
    loss = MeanFeatures(p)
    real, fake = torch.randn(2, 6, 2)
    d = said(loss, real, fake, vector)
    delta = (real.double().mean(0) - fake.double().mean(0)).detach()
    angles = torch.linspace(0, 2 * math.pi, 20_001, dtype=torch.float64)
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    directions = directions / torch.linalg.vector_norm(directions, ord=p, dim=1, keepdim=True)
    assert_close(loss.difference(d).detach(), (directions @ delta).max(), rtol=1e-6, atol=0)
    witness = loss.critic(d.real_logits, d).mean() - loss.critic(d.fake_logits, d).mean()
    assert_close(witness, loss.difference(d))


@pytest.mark.parametrize("p", EVERY_P)
def test_mean_features_stay_finite_where_means_are_equal(p, said, vector):
    loss = MeanFeatures(p)
    rows = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    value = loss.discriminator(said(loss, rows, torch.ones(3, 2), vector))
    (gradient,) = torch.autograd.grad(value, rows, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), rows)
    assert value == 0
    assert torch.isfinite(torch.stack([gradient, second])).all()
