"""The gradient penalty of WGAN-GP."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.penalties import GradientPenalty


@pytest.mark.parametrize("norm", [0.0, 0.25, 1.0, 3.0])
@pytest.mark.parametrize(("weight", "target"), [(10.0, 1.0), (0.5, 0.3), (2.0, 0.0)])
def test_of_a_linear_critic(norm, weight, target, linear, d_pass):
    w = norm * torch.tensor([0.6, 0.0, -0.8, 0.0], dtype=torch.float64)
    real, fake = torch.randn(2, 5, 2, 2, dtype=torch.float64)
    penalty = GradientPenalty(weight, target)
    assert_close(penalty.discriminator(d_pass(linear(w), real, fake, penalty)).item(), weight * (norm - target) ** 2)


def test_is_taken_at_one_uniform_point_between_each_pair(d_pass):
    class Recorder(nn.Module):
        def forward(self, x):
            self.seen = x.detach()
            return x.square().sum((1, 2))

    rows = 2000
    critic, real, fake = Recorder(), torch.randn(rows, 3, 2), torch.randn(rows, 3, 2)
    GradientPenalty()(d_pass(critic, real, fake))
    share = (critic.seen - fake) / (real - fake)
    one = share.flatten(1).median(1).values
    # one mixing weight a row, for all of its coordinates
    assert_close(share.flatten(1), one[:, None].expand(rows, 6), atol=1e-2, rtol=0)
    levels = (torch.arange(rows) + 0.5) / rows
    assert (one.sort().values - levels).abs().max() < 1.95 / rows**0.5  # Kolmogorov-Smirnov at 0.1 %
    assert abs(torch.corrcoef(torch.stack([one[:-1], one[1:]]))[0, 1]) < 0.1


def test_points_are_a_function_of_the_iteration(smooth, d_pass):
    critic, (real, fake) = smooth(), torch.randn(2, 6, 3, dtype=torch.float64)
    values = [GradientPenalty()(d_pass(critic, real, fake, iteration=i)).item() for i in (0, 1, 0)]
    assert values[0] == values[2] != values[1]


def test_is_differentiable_in_the_generated_rows(smooth, d_pass):
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    (gradient,) = torch.autograd.grad(GradientPenalty()(d_pass(smooth(), real, fake)), fake)
    assert (gradient.norm(dim=1) > 0).all()
