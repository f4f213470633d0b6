"""Adam with scalar arguments."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules import Adam
from gan_modules.hyperparameters import is_plain


def run(make, steps=5, dtype=torch.float64):
    torch.manual_seed(0)
    network = nn.Linear(4, 3).to(dtype)
    optimizer = make(network.parameters())
    for i in range(steps):
        optimizer.zero_grad()
        (network(torch.full((2, 4), 1.0 + i, dtype=dtype)).square().sum()).backward()
        optimizer.step()
    return network.weight.detach()


@pytest.mark.parametrize("fused", [None, True, False])
@pytest.mark.parametrize(
    "arguments", [{}, {"beta1": 0.5, "beta2": 0.999}, {"eps": 1e-3}, {"weight_decay": 0.1}, {"lr": 0.05}], ids=str
)
def test_is_torch_adam(fused, arguments):
    given = {"lr": 2e-4, "beta1": 0.0, "beta2": 0.9, **arguments}
    betas = given.pop("beta1"), given.pop("beta2")
    ours = run(lambda p: Adam(p, fused=fused, **arguments))
    assert_close(ours, run(lambda p: torch.optim.Adam(p, betas=betas, fused=False, **given)))


def test_defaults_can_be_written_in_a_configuration():
    defaults = [p.default for p in inspect.signature(Adam.__init__).parameters.values()][2:]
    assert all(is_plain(value) for value in defaults)


def test_takes_the_integers_that_a_configuration_makes_of_zero_and_one():
    assert_close(run(lambda p: Adam(p, beta1=0)), run(lambda p: Adam(p, beta1=0.0)))
    assert Adam([nn.Parameter(torch.zeros(1))], beta1=0).param_groups[0]["betas"] == (0.0, 0.9)


def test_takes_groups_and_iterators():
    layer = nn.Linear(2, 2)
    groups = [{"params": [layer.weight]}, {"params": [layer.bias], "lr": 0.5}]
    assert [group["lr"] for group in Adam(groups, lr=0.1).param_groups] == [0.1, 0.5]
    assert len(Adam(layer.parameters()).param_groups[0]["params"]) == 2


def test_is_fused_where_it_can_be():
    assert Adam([nn.Parameter(torch.zeros(2))]).defaults["fused"] is True
    assert Adam([nn.Parameter(torch.zeros(2))], fused=False).defaults["fused"] is False
    on_meta = nn.Parameter(torch.zeros(2, device="meta"))
    assert Adam([on_meta]).defaults["fused"] is False
