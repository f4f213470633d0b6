"""Errors before training that name what does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gan_modules.checks import check_networks, check_shape, latent_dim_of
from gan_modules.networks import MLPDiscriminator, MLPGenerator


class Squeezed(nn.Module):
    """Loses the batch dimension."""

    def forward(self, x):
        return x.sum()


def test_latent_dim_is_the_one_that_is_known():
    generator = MLPGenerator((2,), latent_dim=5, width=4)
    assert latent_dim_of(generator, None) == 5
    assert latent_dim_of(generator, 5) == 5
    assert latent_dim_of(nn.Linear(7, 2), 7) == 7


@pytest.mark.parametrize(
    ("generator", "given", "words"),
    [
        (nn.Linear(7, 2), None, ("Linear", "latent_dim")),
        (nn.Linear(7, 2), 0, ("latent_dim=0",)),
        (MLPGenerator((2,), latent_dim=5, width=4), 6, ("latent_dim=6", "MLPGenerator", "latent_dim=5")),
    ],
)
def test_latent_dim_that_is_not(generator, given, words):
    with pytest.raises(ValueError, match=r"\w") as error:
        latent_dim_of(generator, given)
    assert all(word in str(error.value) for word in words)


def test_shapes_of_data_and_generator():
    check_shape([1, 8, 8], (1, 8, 8), nn.Identity())
    with pytest.raises(ValueError, match=r"\(3, 8, 8\).*Identity.*\(1, 8, 8\)"):
        check_shape((3, 8, 8), (1, 8, 8), nn.Identity())


@pytest.mark.parametrize("classes", [None, 3])
def test_networks_that_fit_give_the_shape_of_a_sample(classes):
    generator = MLPGenerator((1, 3, 2), latent_dim=5, width=4, num_classes=classes)
    discriminator = MLPDiscriminator((1, 3, 2), width=4, num_classes=classes)
    labels = None if classes is None else torch.zeros(2, dtype=torch.long)
    assert check_networks(generator, discriminator, torch.zeros(2, 5), labels) == (1, 3, 2)


@pytest.mark.parametrize(
    ("generator", "discriminator", "words"),
    [
        (nn.Linear(5, 3), nn.Bilinear(2, 2, 1), ("Linear", "Bilinear", "(3,)")),
        (nn.Linear(4, 3), nn.Linear(3, 1), ("generator Linear", "(2, 5)")),
        (nn.Linear(5, 3), nn.Flatten(7), ("Linear", "Flatten", "(3,)")),
        (Squeezed(), nn.Identity(), ("Squeezed", "Identity", "batch")),
        (nn.Identity(), Squeezed(), ("Identity", "Squeezed", "batch")),
        (nn.Identity(), nn.Flatten(0), ("Identity", "Flatten", "batch")),
    ],
)
def test_networks_that_do_not_are_both_named(generator, discriminator, words):
    with pytest.raises(ValueError, match=r"\w") as error:
        check_networks(generator, discriminator, torch.zeros(2, 5), None)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("fails", [True, False])
def test_networks_are_left_as_they_were(fails):
    generator = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3), nn.Dropout())
    generator[2].eval()  # a user's own choice within a network in training mode
    state = {name: value.clone() for name, value in generator.state_dict().items()}
    try:
        check_networks(generator, Squeezed() if fails else nn.Linear(3, 1), torch.ones(2, 5), None)
    except ValueError:
        assert fails
    assert [module.training for module in generator.modules()] == [True, True, True, False]
    assert all(torch.equal(value, state[name]) for name, value in generator.state_dict().items())
    assert all(p.grad is None for p in generator.parameters())
