"""The generator's curvature when D answers: against matrices, and against a loss in which D really is trained anew."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules import NSGAN, MinimaxGAN
from gan_modules.dynamics import GameJacobian, MatrixJacobian, NegativeCurvatureError, TotalHessian, dense
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1


def smooth(variant, weight, **kwargs):
    """A GAN of two small tanh networks, with (weight / 2) |phi|^2 in the discriminator's loss."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = MLPGenerator((2,), latent_dim=2, width=4, depth=2, activation="tanh")
        discriminator = MLPDiscriminator((2,), width=4, depth=2, activation="tanh")
    game = variant(generator, discriminator, ema_decay=0.0, **kwargs).double()
    right = game.player_loss

    def loss(player, batch):
        squares = sum(p.square().sum() for p in game.discriminator.parameters())
        return right(player, batch) + (0.5 * weight * squares if player else 0.0)

    game.player_loss = loss
    return game


def trained(game, batch):
    """Bring D to a minimum of its loss; the value there, and the norm of the gradient."""
    parameters = list(game.discriminator.parameters())
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=3000, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = game.player_loss(1, batch)
        loss.backward(inputs=parameters)
        return loss

    optimizer.step(closure)
    value = closure().item()
    return value, torch.cat([p.grad.reshape(-1) for p in parameters]).norm().item()


@pytest.fixture
def at_best(batch_of):
    """A minimax GAN of two small networks with its discriminator at a strict minimum, and a batch."""
    game = smooth(MinimaxGAN, 0.02, penalties=[R1(0.1)])
    batch = batch_of(game, rows=40)
    _, norm = trained(game, batch)
    assert norm < 1e-7
    return game, batch


def blocks(jacobian):
    """H_GG, H_GD, H_DG, H_DD as matrices."""
    matrix, n = -dense(jacobian).matrix, jacobian.sizes[0]
    return matrix[:n, :n], matrix[:n, n:], matrix[n:, :n], matrix[n:, n:]


@pytest.mark.parametrize("damping", [0.0, 0.3])
def test_products_equal_the_matrix(at_best, damping):
    jacobian = GameJacobian(*at_best)
    gg, gd, dg, dd = blocks(jacobian)
    expected = gg - gd @ torch.linalg.solve(dd + damping * torch.eye(len(dd), dtype=dd.dtype), dg)
    total = TotalHessian(jacobian, damping=damping)
    found = torch.stack([total(unit) for unit in torch.eye(len(gg), dtype=gg.dtype)], 1)
    assert (found - expected).norm() <= 1e-6 * expected.norm()
    assert total.residual <= total.tolerance
    assert_close(total.frozen(expected[0]), gg @ expected[0])


def test_of_a_zero_sum_game_it_is_symmetric_and_never_below_the_frozen_one(at_best):
    gg, gd, dg, _ = blocks(GameJacobian(*at_best))
    assert_close(gd, -dg.T)
    total = TotalHessian(GameJacobian(*at_best))
    matrix = torch.stack([total(unit) for unit in torch.eye(len(gg), dtype=gg.dtype)], 1)
    assert_close(matrix, matrix.T, rtol=1e-6, atol=1e-9)
    gain = torch.linalg.eigvalsh(matrix - gg)
    assert gain.min() >= -1e-9
    assert gain.max() > 1e-3


def test_it_is_the_second_difference_of_the_loss_with_d_trained_anew(at_best):
    game, batch = at_best
    total = TotalHessian(GameJacobian(game, batch))
    w = torch.randn(total.jacobian.sizes[0], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    w /= w.norm()
    parameters = list(game.generator.parameters())
    start, step = torch.nn.utils.parameters_to_vector(parameters).detach(), 1e-2
    values = []
    for move in (-step, 0.0, step):
        torch.nn.utils.vector_to_parameters(start + move * w, parameters)
        value, _ = trained(game, batch)
        values.append(-value)
    second = (values[0] - 2 * values[1] + values[2]) / step**2
    assert float(w @ total(w)) == pytest.approx(second, rel=0.02)
    assert abs(float(w @ total.frozen(w)) - second) > 0.2 * abs(second)  # which the frozen one is not


def test_the_response_is_where_d_goes(at_best):
    game, batch = at_best
    total = TotalHessian(GameJacobian(game, batch))
    w = torch.randn(total.jacobian.sizes[0], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    both = [list(player.parameters()) for player in game.players]
    theta, phi = (torch.nn.utils.parameters_to_vector(p).detach() for p in both)
    torch.nn.utils.vector_to_parameters(theta + 1e-4 * w, both[0])
    trained(game, batch)
    moved = (torch.nn.utils.parameters_to_vector(both[1]).detach() - phi) / 1e-4
    assert_close(total.response(w), moved, rtol=0.02, atol=0.02 * float(moved.norm()))


def test_a_quadratic_game_in_closed_form():
    # V = a u^2 / 2 + b u v - c v^2 / 2, which u minimises and v maximises: max_v V = (a + b^2 / c) u^2 / 2
    a, b, c = -1.0, 3.0, 2.0
    jacobian = MatrixJacobian(torch.tensor([[-a, -b], [b, -c]], dtype=torch.float64), (1, 1))
    one = torch.ones(1, dtype=torch.float64)
    assert TotalHessian(jacobian)(one).item() == pytest.approx(a + b**2 / c)
    assert TotalHessian(jacobian, damping=1.0)(one).item() == pytest.approx(a + b**2 / (c + 1))
    assert TotalHessian(jacobian, damping=1e9)(one).item() == pytest.approx(a)


def test_of_other_games_it_is_the_jacobian_of_what_the_generator_follows(batch_of):
    game = smooth(NSGAN, 0.02, penalties=[R1(0.1)])
    batch = batch_of(game, rows=40)
    trained(game, batch)
    total = TotalHessian(GameJacobian(game, batch))
    w = torch.randn(total.jacobian.sizes[0], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    w /= w.norm()
    parameters, step = list(game.generator.parameters()), 1e-3
    start, ends = torch.nn.utils.parameters_to_vector(parameters).detach(), []
    product = total(w)
    for move in (-step, step):
        torch.nn.utils.vector_to_parameters(start + move * w, parameters)
        trained(game, batch)
        gradient = torch.autograd.grad(game.player_loss(0, batch), parameters)
        ends.append(torch.cat([g.reshape(-1) for g in gradient]))
    difference = (ends[1] - ends[0]) / (2 * step)
    assert (product - difference).norm() <= 0.02 * difference.norm()


def test_a_discriminator_that_is_not_at_a_minimum_is_named_with_the_remedy():
    jacobian = MatrixJacobian(torch.tensor([[-1.0, -2.0], [2.0, 0.5]], dtype=torch.float64), (1, 1))  # H_DD = -1/2
    one = torch.ones(1, dtype=torch.float64)
    with pytest.raises(NegativeCurvatureError, match=r"curvature -0.5.*weight decay.*damping above 0.5"):
        TotalHessian(jacobian)(one)
    assert TotalHessian(jacobian, damping=1.5)(one).item() == pytest.approx(1 + 4)


def test_solutions_that_run_out_of_iterations_say_so(at_best):
    total = TotalHessian(GameJacobian(*at_best), max_iterations=2)
    total(torch.ones(total.jacobian.sizes[0], dtype=torch.float64))
    assert total.iterations == 2
    assert total.residual > total.tolerance


def test_a_generator_that_d_does_not_see_costs_no_solution():
    jacobian = MatrixJacobian(torch.diag(torch.tensor([-3.0, -1.0], dtype=torch.float64)), (1, 1))
    total = TotalHessian(jacobian)
    assert total(torch.ones(1, dtype=torch.float64)).item() == 3
    assert (total.iterations, total.residual) == (0, 0.0)


@pytest.mark.parametrize(
    ("argument", "value"), [("damping", -1.0), ("tolerance", 0.0), ("tolerance", 1.0), ("max_iterations", 0)]
)
def test_arguments_that_make_no_sense(argument, value):
    jacobian = MatrixJacobian(torch.eye(2, dtype=torch.float64), (1, 1))
    with pytest.raises(ValueError, match=f"TotalHessian\\({argument}={value}\\)"):
        TotalHessian(jacobian, **{argument: value})


def test_products_that_are_not_finite_are_refused():
    jacobian = MatrixJacobian(torch.tensor([[-1.0, -1.0], [1.0, -1.0]], dtype=torch.float64), (1, 1))
    with pytest.raises(FloatingPointError, match="not finite"):
        TotalHessian(jacobian)(torch.full((1,), torch.nan, dtype=torch.float64))
