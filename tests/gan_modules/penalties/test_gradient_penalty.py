"""The gradient penalty of WGAN-GP and its relatives against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.networks import Packed
from gan_modules.penalties import DRAGANPenalty, GradientPenalty


class Recorder(nn.Module):
    """D(x) = |x|^2, which keeps the points where it was asked."""

    def forward(self, x):
        self.seen = x.detach()
        return x.flatten(1).square().sum(1)


@pytest.mark.parametrize("at", ["interpolated", "real", "fake", "perturbed"])
@pytest.mark.parametrize("norm", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize("one_sided", [False, True], ids=["two-sided", "one-sided"])
@pytest.mark.parametrize(("weight", "target"), [(10.0, 1.0), (0.5, 0.3), (2.0, 0.0)])
def test_of_a_linear_critic(at, norm, one_sided, weight, target, linear, d_pass):
    w = norm * torch.tensor([0.6, 0.0, -0.8, 0.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, 2, dtype=torch.float64)
    penalty = GradientPenalty(weight, target, one_sided, at)
    excess = max(norm - target, 0.0) if one_sided else norm - target
    value = penalty.discriminator(d_pass(linear(w), real, fake, penalty))
    assert_close(value.item(), weight * excess**2, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("at", ["interpolated", "perturbed"])
@pytest.mark.parametrize("one_sided", [False, True], ids=["two-sided", "one-sided"])
def test_of_a_quadratic_critic_is_the_mean_of_the_norms_of_rows(at, one_sided, quadratic, d_pass):
    a = torch.randn(3, 3, dtype=torch.float64)
    a = a + a.T
    real, fake = torch.randn(2, 7, 3, dtype=torch.float64)
    penalty = GradientPenalty(3.0, 2.0, one_sided, at)
    d = d_pass(quadratic(a), real, fake, penalty)
    mix = d.batch.random.uniform("gradient_penalty").double()[:, None]
    noise = d.batch.random.uniform("perturbation", (3,)).double()
    end = fake if at == "interpolated" else real + 0.5 * real.std(correction=0) * noise
    excess = ((mix * real + (1 - mix) * end) @ a).norm(dim=1) - 2.0
    expected = 3.0 * (excess.clamp(min=0) if one_sided else excess).square().mean()
    assert_close(penalty.discriminator(d), expected, rtol=1e-12, atol=0)
    # the norm of the batch's mean gradient, or of the batch as one vector, would be another number
    assert ((real @ a).mean(0).norm() - 2.0).square() * 3.0 != expected


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("penalty", [GradientPenalty(), GradientPenalty(at="real"), GradientPenalty(at="perturbed")])
def test_of_packs_is_the_norm_in_all_rows_of_a_pack(penalty, k, linear, d_pass):
    w = torch.randn(3 * k, dtype=torch.float64)
    critic = Packed(linear(w), k)
    real, fake = torch.randn(2, 8, 3, dtype=torch.float64)
    assert_close(penalty.discriminator(d_pass(critic, real, fake, penalty)), 10 * (w.norm() - 1).square())


def test_rows_of_a_pack_move_on_one_line(d_pass):
    class Pairs(nn.Module):
        rows_per_logit = 2

        def forward(self, x):
            self.seen = x.detach()
            return x.square().sum(1).view(-1, 2).sum(1)

    critic, real, fake = Pairs(), torch.randn(8, 3), torch.randn(8, 3)
    GradientPenalty().discriminator(d_pass(critic, real, fake))
    share = ((critic.seen - fake) / (real - fake)).mean(1).view(4, 2)
    assert_close(share[:, 0], share[:, 1], atol=1e-4, rtol=0)
    assert len(share[:, 0].unique()) == 4


def test_is_taken_at_one_uniform_point_between_each_pair(d_pass):
    rows = 2000
    critic, real, fake = Recorder(), torch.randn(rows, 3, 2), torch.randn(rows, 3, 2)
    GradientPenalty().discriminator(d_pass(critic, real, fake))
    share = (critic.seen - fake) / (real - fake)
    one = share.flatten(1).median(1).values
    # one mixing weight a row, for all of its coordinates
    assert_close(share.flatten(1), one[:, None].expand(rows, 6), atol=1e-2, rtol=0)
    levels = (torch.arange(rows) + 0.5) / rows
    assert (one.sort().values - levels).abs().max() < 1.95 / rows**0.5  # Kolmogorov-Smirnov at 0.1 %
    assert abs(torch.corrcoef(torch.stack([one[:-1], one[1:]]))[0, 1]) < 0.1


def test_dragan_stays_around_the_data_and_scales_with_it(d_pass):
    critic, real, fake = Recorder(), 3 * torch.randn(2000, 2) + 1, torch.randn(2000, 2) + 100
    moves = []
    for scale in (1.0, 5.0):
        DRAGANPenalty().discriminator(d_pass(critic, scale * real, fake))
        moves.append(critic.seen - scale * real)
    assert_close(moves[1], 5 * moves[0], rtol=1e-4, atol=1e-4)
    # std (1 - mix) u / 2 in each number, mix and u uniform in [0, 1): mean std / 8
    std = real.std(correction=0)
    assert moves[0].min() >= 0
    assert moves[0].max() <= std / 2
    assert_close(moves[0].mean(), std / 8, rtol=0.05, atol=0)


def test_dragan_is_that_of_the_paper(d_pass):
    penalty = DRAGANPenalty()
    assert (penalty.weight, penalty.target, penalty.one_sided) == (10.0, 1.0, False)
    assert penalty.slope == ("perturbed", 1.0)
    # a batch that does not vary is not perturbed
    critic = Recorder()
    penalty.discriminator(d_pass(critic, torch.ones(4, 3), torch.zeros(4, 3)))
    assert torch.equal(critic.seen, torch.ones(4, 3))


@pytest.mark.parametrize("penalty", [GradientPenalty(), DRAGANPenalty()])
def test_points_are_a_function_of_the_iteration(penalty, smooth, d_pass):
    critic, (real, fake) = smooth(), torch.randn(2, 6, 3, dtype=torch.float64)
    values = [penalty.discriminator(d_pass(critic, real, fake, iteration=i)).item() for i in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_is_differentiable_in_the_generated_rows(smooth, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    (gradient,) = torch.autograd.grad(GradientPenalty().discriminator(d_pass(smooth(), real, fake)), fake)
    assert (gradient.norm(dim=1) > 0).all()


@pytest.mark.parametrize(
    "wrong", [{"at": "between"}, {"weight": -1.0}, {"target": float("nan")}, {"spread": -0.5}], ids=str
)
def test_wrong_arguments_are_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}='?{value}"):
        GradientPenalty(**wrong)
