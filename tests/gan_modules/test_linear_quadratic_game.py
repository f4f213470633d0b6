"""Games with a given Jacobian, the bilinear one among them."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules import BilinearGame, GaussianGAN, LinearQuadraticGame
from gan_modules.dynamics import GameJacobian, Play, dense
from gan_modules.rules import Alternating, Simultaneous, Unrolled


@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (5, 1)])
def test_the_field_is_the_matrix_times_the_position(sizes):
    n = sum(sizes)
    matrix = torch.randn(n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    for part in (slice(0, sizes[0]), slice(sizes[0], n)):
        matrix[part, part] = matrix[part, part] + matrix[part, part].T
    game = LinearQuadraticGame(matrix, sizes[0], seed=2)
    jacobian = GameJacobian(game, game.batch())
    assert_close(torch.cat(jacobian.field), matrix @ game.position)
    assert_close(dense(jacobian).matrix, matrix)
    assert game.position.norm().item() == pytest.approx(1)


def test_a_start_is_seeded():
    one, same, other = (BilinearGame([[1.0, 2.0]], seed=seed).position for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("shape", [(1, 1), (2, 4), (5, 3)])
def test_planes_of_a_bilinear_game_turn_apart(shape):
    a = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    game = BilinearGame(a)
    assert torch.equal(game.a, a)
    start = game.in_planes(game.position)
    *_, end = Play(game, Simultaneous(), 0.1).trajectory(50)
    assert_close(game.in_planes(end) / start, game.rates(Simultaneous(), 0.1) ** 50)


def test_a_bilinear_game_without_a_closed_form_says_so():
    game = BilinearGame([[1.0]])
    with pytest.raises(NotImplementedError, match="Unrolled"):
        game.stability_limit(Unrolled())
    with pytest.raises(NotImplementedError, match="closed form"):
        LinearQuadraticGame([[-1.0, 0.0], [0.0, -1.0]], 1).stability_limit(Alternating())


@pytest.mark.parametrize(
    ("jacobian", "first_size", "message"),
    [
        ([[1.0, 2.0]], 1, "square"),
        ([[1.0, 2.0], [3.0, float("nan")]], 1, "finite"),
        ([[1.0, 0.0], [0.0, 1.0]], 0, "both players"),
        ([[1.0, 0.0], [0.0, 1.0]], 2, "both players"),
        ([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], 2, "first player is not symmetric"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]], 1, "second player is not symmetric"),
    ],
)
def test_matrices_that_are_no_game(jacobian, first_size, message):
    with pytest.raises(ValueError, match=message):
        LinearQuadraticGame(jacobian, first_size)


@pytest.mark.parametrize("matrix", [[], [[]], [1.0, 2.0], [[float("inf")]], [[[1.0]]]])
def test_matrices_that_are_no_bilinear_game(matrix):
    with pytest.raises(ValueError, match="A must be finite"):
        BilinearGame(matrix)


def test_a_start_of_another_size():
    with pytest.raises(ValueError, match="3 finite numbers"):
        BilinearGame([[1.0, 2.0]], start=[1.0, 2.0])
    with pytest.raises(ValueError, match="finite numbers"):
        BilinearGame([[1.0]], start=[1.0, float("nan")])


def test_a_gaussian_gan_learns_mean_and_covariance():
    game = GaussianGAN()
    *_, end = Play(game, Alternating(), 0.15).trajectory(500)
    d = 2
    assert_close(end[:d], game.mean, atol=1e-2, rtol=0)
    root = end[d : d + d * d].view(d, d)
    assert_close(root @ root.T, game.covariance, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mean": [1.0], "covariance": [[1.0, 0.0], [0.0, 1.0]]}, "shape"),
        ({"covariance": [[1.0, 2.0], [0.0, 1.0]]}, "symmetric"),
        ({"covariance": [[1.0, 0.0], [0.0, 0.0]]}, "positive definite"),
        ({"gamma": -1.0}, "at least 0"),
        ({"start": [0.0]}, "12 finite numbers"),
    ],
)
def test_gaussian_gans_that_are_none(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GaussianGAN(**kwargs)
