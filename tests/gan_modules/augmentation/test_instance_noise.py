"""Instance noise: its schedule, and its damping of the Dirac-GAN."""

from __future__ import annotations

import math

import pytest
import torch

from gan_modules import DiracGAN
from gan_modules.augmentation import InstanceNoise
from gan_modules.batch import GameBatch
from gan_modules.dynamics import GameJacobian, dense
from gan_modules.losses import Minimax, NonSaturating


@pytest.mark.parametrize(("iteration", "std"), [(-5, 2.0), (0, 2.0), (25, 1.625), (100, 0.5), (1000, 0.5)])
def test_schedule(iteration, std, random_rows):
    noise = InstanceNoise(2.0, end_std=0.5, iterations=100)
    assert noise.std_at(iteration) == pytest.approx(std)
    x = noise.apply(torch.full((4000, 2), 3.0), random_rows(4000, iteration=iteration), {})
    assert x.mean().item() == pytest.approx(3.0, abs=0.1)
    assert x.std().item() == pytest.approx(std, rel=0.03)


def test_ends_without_noise(random_rows):
    x = torch.randn(3, 2)
    noise = InstanceNoise(1.0, end_std=0.0, iterations=10)
    assert noise.apply(x, random_rows(3, iteration=10), {}) is x
    assert not torch.equal(noise.apply(x, random_rows(3, iteration=9), {}), x)


@pytest.mark.parametrize("loss", [Minimax(), NonSaturating()], ids=lambda x: type(x).__name__)
def test_damps_the_dirac_gan_as_its_closed_form(loss, random_rows):
    std, rows = 0.7, 40_000
    game = DiracGAN(loss, theta=0.0, augmentation=[InstanceNoise(std)])
    zeros = torch.zeros(rows, 1, dtype=torch.float64)
    matrix = dense(GameJacobian(game, GameBatch(zeros, zeros, random_rows(rows)))).matrix
    expected = DiracGAN(loss, theta=0.0, instance_noise=std).closed_form_jacobian().matrix
    assert matrix[1, 1].item() == pytest.approx(-(std**2) / 2, rel=0.03)
    assert torch.allclose(matrix, expected, atol=0.01)


@pytest.mark.parametrize("arguments", [{"std": -0.1}, {"std": math.nan}, {"end_std": -1.0}, {"iterations": 0}])
def test_mistakes(arguments):
    (name, value), *_ = arguments.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        InstanceNoise(**arguments)
