"""Weight clipping."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from gan_modules.penalties import WeightClipping


def test_projects_every_parameter_on_the_box_in_place():
    network = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 1))
    parameters = list(network.parameters())
    before = [p.detach().clone() for p in parameters]
    WeightClipping(0.1).apply(network)
    for p, now, old in zip(parameters, network.parameters(), before, strict=True):
        assert p is now
        assert torch.equal(p.detach(), old.clamp(-0.1, 0.1))
        assert p.requires_grad
    assert any((p != old).any() for p, old in zip(parameters, before, strict=True))


def test_is_idempotent_and_a_value():
    network, constraint = nn.Linear(4, 6), WeightClipping(0.05)
    constraint.apply(network)
    once = network.weight.detach().clone()
    constraint.apply(network)
    assert torch.equal(network.weight, once)
    assert len({constraint, pickle.loads(pickle.dumps(constraint))}) == 1


@pytest.mark.parametrize("c", [0.0, -0.01, float("nan")])
def test_bound_must_be_positive(c):
    with pytest.raises(ValueError, match=f"c={c}"):
        WeightClipping(c)
