"""Activations of the perceptrons, and the norm of gradients that MaxMin keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from gan_modules.networks import MaxMin, MLPDiscriminator, MLPGenerator

NAMES = ["elu", "leaky_relu", "maxmin", "relu", "silu", "softplus", "tanh"]


@pytest.mark.parametrize("activation", NAMES)
def test_perceptrons_take_every_activation(activation):
    torch.manual_seed(0)
    generator = MLPGenerator((2,), latent_dim=3, width=8, depth=2, activation=activation)
    discriminator = MLPDiscriminator((2,), width=8, depth=2, activation=activation)
    logits = discriminator(generator(torch.randn(5, 3)))
    assert logits.shape == (5,)
    others = [name for name in NAMES if name != activation]
    for other in others:
        twin = MLPDiscriminator((2,), width=8, depth=2, activation=other)
        twin.load_state_dict(discriminator.state_dict())
        x = torch.randn(20, 2)
        assert not torch.allclose(twin(x), discriminator(x))


@pytest.mark.parametrize("cls", [MLPGenerator, MLPDiscriminator], ids=lambda cls: cls.__name__)
def test_unknown_activation_lists_those_there_are(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(activation='swish'\).*" + ".*".join(NAMES)):
        cls((2,), activation="swish")
    with pytest.raises(ValueError, match=rf"{cls.__name__}\(width=7\).*even"):
        cls((2,), width=7, activation="maxmin")


def test_maxmin_sorts_pairs_of_features():
    x = torch.tensor([[3.0, 1.0, -2.0, 5.0]])
    assert_close(MaxMin()(x), torch.tensor([[1.0, 3.0, -2.0, 5.0]]))
    images = torch.randn(2, 6, 4, 3)
    assert_close(MaxMin()(images), images.unflatten(1, (3, 2)).sort(2).values.flatten(1, 2))
    with pytest.raises(ValueError, match=r"5.*even"):
        MaxMin()(torch.zeros(1, 5))


def test_a_critic_of_orthogonal_layers_and_maxmin_has_slope_one_everywhere():
    # Anil et al., 2019, section 4; at ties too, where max and min would share the gradient and lose norm
    torch.manual_seed(0)
    critic = MLPDiscriminator((8,), width=8, depth=3, activation="maxmin").double()
    for layer in critic.modules():
        if isinstance(layer, nn.Linear):
            nn.init.orthogonal_(layer.weight)
    for x in (torch.randn(20, 8, dtype=torch.float64), torch.zeros(1, 8, dtype=torch.float64)):
        for bias in [p for name, p in critic.named_parameters() if name.endswith("bias")]:
            nn.init.zeros_(bias)
        x.requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x)
        assert_close(gradient.norm(dim=1), torch.ones(len(x), dtype=torch.float64))
