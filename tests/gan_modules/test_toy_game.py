"""What every toy game keeps: a new one is tested by existing."""

from __future__ import annotations

import pytest
import torch
from recipes import TOYS, parameters, point, quiet_trainer, toy, toy_on_ranks
from torch.testing import assert_close

import gan_modules
from gan_modules.dynamics import GameJacobian, Play, dense, stability
from gan_modules.rules import Alternating, Extragradient, Simultaneous

pytestmark = pytest.mark.filterwarnings("ignore")


def move_to(game, values):
    with torch.no_grad():
        start = 0
        for p in (p for player in game.players for p in player.parameters()):
            p.copy_(values[start : start + p.numel()].view_as(p))
            start += p.numel()
    return game


@pytest.fixture(params=TOYS)
def game(request):
    """Every exported toy game, at its equilibrium."""
    game = toy(request.param)
    return move_to(game, game.equilibrium())


def test_all_toys_are_covered():
    assert {"BilinearGame", "DiracGAN", "GaussianGAN", "HopfGame", "LinearQuadraticGame"} <= set(TOYS)


def test_the_field_vanishes_at_the_equilibrium(game):
    field = torch.cat(GameJacobian(game, game.batch()).field)
    assert field.dtype == torch.float64
    assert_close(field, torch.zeros_like(field), atol=1e-14, rtol=0)


def test_the_jacobian_on_paper_is_the_measured_one(game):
    measured = dense(GameJacobian(game, game.batch())).matrix
    assert_close(game.closed_form_jacobian().matrix, measured, atol=1e-12, rtol=1e-12)
    exponents = torch.linalg.eigvals(measured)
    assert_close(game.exponents().abs().sort().values, exponents.abs().sort().values, atol=1e-6, rtol=1e-9)


@pytest.mark.parametrize("rule", [Simultaneous(), Alternating()], ids=lambda rule: type(rule).__name__)
def test_the_limit_on_paper_is_the_measured_one(game, rule):
    try:
        limit = game.stability_limit(rule)
    except NotImplementedError:
        pytest.skip("no closed form")
    answer = stability(game, game.batch(), rule, 0.01)
    if limit == 0:
        assert answer.verdict == "unstable at any rate"
    elif answer.verdict != "neutral":  # which bilinear games are below the limit
        assert 0.01 * answer.limit == pytest.approx(limit, rel=1e-7)
    if limit > 0:
        beyond = stability(game, game.batch(), rule, 1.01 * limit)
        assert beyond.verdict == "unstable"
        assert beyond.lr_over_limit == pytest.approx(1.01, rel=1e-7)


@pytest.mark.parametrize("rule", [None, Simultaneous(), Extragradient()], ids=str)
@pytest.mark.parametrize("name", TOYS)
def test_two_iterations_in_a_trainer(name, rule):
    game = toy(name, rule=rule)
    before = parameters(game)
    trainer = quiet_trainer()
    trainer.fit(game, point())
    assert trainer.global_step == 2
    after = parameters(game)
    assert any(not torch.equal(before[n], after[n]) for n in after)
    assert all(p.isfinite().all() and p.dtype == torch.float64 for p in after.values())
    distance = trainer.logged_metrics["distance"]
    assert float(distance) == pytest.approx(float((game.position - game.equilibrium()).norm()), rel=1e-6)


@pytest.mark.parametrize("name", TOYS)
def test_a_saved_toy_loads_equal(name, tmp_path):
    game = toy(name, seed=3)
    trainer = quiet_trainer()
    trainer.fit(game, point())
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    again = type(game).load_from_checkpoint(tmp_path / "c.ckpt", weights_only=True)
    assert torch.equal(again.position, game.position)
    assert torch.equal(again.closed_form_jacobian().matrix, game.closed_form_jacobian().matrix)


@pytest.mark.parametrize("name", TOYS)
def test_two_processes_play_the_game_of_one(name, gloo):
    alone = toy_on_ranks(0, 1, name)
    for there in gloo(toy_on_ranks, name):
        for parameter, expected in alone.items():
            assert_close(there[parameter], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", TOYS)
def test_no_toy_writes_a_loop(name):
    assert getattr(gan_modules, name).training_step is gan_modules.GameModule.training_step


@pytest.mark.parametrize("name", TOYS)
def test_play_and_trainer_move_alike(name):
    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.05)

    trained = toy(name, rule=Simultaneous(), generator_optimizer=sgd, discriminator_optimizer=sgd)
    quiet_trainer(max_steps=3).fit(trained, point())
    game = toy(name)
    play = Play(game, Simultaneous(), 0.05, lambda k: game.batch())
    *_, end = play.trajectory(3)
    assert_close(end, trained.position, rtol=1e-12, atol=1e-14)
