"""What every rule promises: a value without state of its own, its draws, its shared forwards, its costs."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from rule_recipes import EXAMPLES, RULES, exported
from torch.utils._pytree import tree_leaves

from gan_modules import BilinearGame, LinearQuadraticGame
from gan_modules.batch import GameBatch
from gan_modules.dynamics import Play, no_data
from gan_modules.protocols import DISCRIMINATOR, GENERATOR
from gan_modules.rules import Alternating, CompetitiveGradient, Simultaneous

every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


class Recorded(LinearQuadraticGame):
    """A game in which the players' interests differ, that writes down what is asked of it."""

    def __init__(self):
        super().__init__([[-0.3, 0.1, 0.9], [0.1, -0.2, -0.4], [-0.7, 0.5, -0.6]], 2)
        self.calls, self.losses, self.jacobians = [], [0, 0], []

    def gradient(self, player, batch, *, shared=False):
        self.calls.append(("gradient", player, batch.index, shared))
        super().gradient(player, batch, shared=shared)

    def jacobian(self, batch):
        self.jacobians.append(super().jacobian(batch))
        return self.jacobians[-1]

    def player_loss(self, player, batch):
        self.losses[player] += 1
        return super().player_loss(player, batch)


def recorded(rule, lr=0.1):
    """A play whose game's ``calls`` say what was drawn, differentiated and stepped."""
    game = Recorded()

    def draw(k):
        game.calls.append(("draw", k))
        like = no_data(game.first.x.detach())
        return GameBatch(like.real, like.z, like.random, index=k)

    play = Play(game, rule, lr, draw)
    for player, optimizer in enumerate(play.optimizers):
        optimizer.register_step_post_hook(lambda *_, player=player: game.calls.append(("step", player)))
    return play


def test_every_exported_rule_is_tested():
    assert set(EXAMPLES) == exported()
    for name, examples in EXAMPLES.items():
        assert any(type(rule).__name__ == name for rule in examples)


@every_rule
def test_is_an_immutable_value(rule):
    with pytest.raises(AttributeError):
        rule.draws = 5
    with pytest.raises(AttributeError):
        rule.something = 5
    assert len({rule, copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))}) == 1


@every_rule
def test_moves_both_players_and_uses_all_of_its_draws(rule):
    play = recorded(rule)
    before = play.position
    play.step()
    assert (play.position != before).all()
    calls = play.game.calls
    assert {call[1] for call in calls if call[0] == "step"} == {GENERATOR, DISCRIMINATOR}
    drawn = [call[1] for call in calls if call[0] == "draw"]
    assert list(dict.fromkeys(drawn)) == list(range(rule.draws))


@every_rule
def test_keeps_its_promise_where_it_shares(rule):
    # shared=True: the other player's gradient on the same batch comes before the generator moves
    play = recorded(rule)
    list(play.trajectory(2))
    calls = play.game.calls
    for i, call in enumerate(calls):
        if call[0] == "gradient" and call[3]:
            later = calls[i + 1 :]
            partner = next(c for c in later if c[:3] == ("gradient", 1 - call[1], call[2]))
            assert ("step", GENERATOR) not in later[: later.index(partner)]


@every_rule
def test_one_object_serves_many_games(rule):
    def play(rule):
        return Play(BilinearGame([[0.7]], start=[0.6, -0.8]), rule, 0.1)

    first, second = play(rule), play(rule)
    together = list(zip(first.trajectory(4), second.trajectory(4), strict=True))
    alone = list(play(copy.deepcopy(rule)).trajectory(4))
    assert all(torch.equal(a, b) and torch.equal(a, c) for (a, b), c in zip(together, alone, strict=True))


@every_rule
def test_repeats_itself_after_its_period(rule):
    play = Play(BilinearGame([[0.7]]), rule, 0.1)

    def counters():
        return [leaf for leaf in tree_leaves(play.memory) if not isinstance(leaf, torch.Tensor)]

    start, seen = counters(), []
    for _ in range(rule.period):
        play.step()
        seen.append(counters())
    assert seen[-1] == start
    assert start not in seen[:-1] or not start


# --- costs ------------------------------------------------------------------------------------------------------------


@every_rule
def test_costs_what_it_says(rule):
    play = recorded(rule)
    game, cost = play.game, rule.cost
    for _ in range(2):  # a first iteration is no other
        game.losses, game.jacobians = [0, 0], []
        play.step()
        # a loss is evaluated for its gradient and nothing else; a Jacobian takes one of each player
        assert game.losses == [cost.generator, cost.discriminator]
        products = sum(jacobian.products for jacobian in game.jacobians)
        if isinstance(rule, CompetitiveGradient):
            assert 0 < products <= cost.products
        else:
            assert products == cost.products


@every_rule
def test_remembers_what_it_says(rule):
    play = recorded(rule)
    for _ in range(3):
        held = sum(leaf.numel() for leaf in tree_leaves(play.memory) if isinstance(leaf, torch.Tensor))
        assert held == rule.cost.memory * len(play.position)
        play.step()


def test_competitive_gradient_stops_when_it_has_solved():
    def products(tolerance):
        play = recorded(CompetitiveGradient(tolerance, max_iterations=50))
        play.step()
        (jacobian,) = play.game.jacobians
        return jacobian.products

    assert products(0.5) < products(1e-3) <= products(1e-10) < 20


@pytest.mark.parametrize("k", [1, 4])
def test_competitive_gradient_at_its_last_iteration_costs_its_bound(k):
    play = recorded(CompetitiveGradient(1e-300, max_iterations=k))
    play.step()
    (jacobian,) = play.game.jacobians
    assert jacobian.products <= play.rule.cost.products


# --- the order in which things happen ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5])
def test_alternating_trains_the_critic_on_fresh_batches_and_shares_the_last(n):
    play = recorded(Alternating(n))
    play.step()
    critic = [
        call
        for k in range(n)
        for call in (("draw", k), ("gradient", DISCRIMINATOR, k, k == n - 1), ("step", DISCRIMINATOR))
    ]
    assert play.game.calls == [*critic, ("gradient", GENERATOR, n - 1, False), ("step", GENERATOR)]


def test_alternating_may_move_the_generator_first():
    play = recorded(Alternating(2, first="generator"))
    play.step()
    moves = [call[:3] for call in play.game.calls if call[0] != "draw"]
    critic = [c for k in range(2) for c in (("gradient", DISCRIMINATOR, k), ("step", DISCRIMINATOR))]
    assert moves == [("gradient", GENERATOR, 0), ("step", GENERATOR), *critic]


def test_simultaneous_takes_both_gradients_at_the_same_point():
    play = recorded(Simultaneous())
    play.step()
    assert [call[0] for call in play.game.calls] == ["draw", "gradient", "gradient", "step", "step"]
    assert sum(call[0] == "gradient" and call[3] for call in play.game.calls) == 1
