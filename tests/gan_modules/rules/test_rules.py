"""What every rule promises, and what each asks of a game."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch

from gan_modules import rules
from gan_modules.protocols import DISCRIMINATOR, GENERATOR
from gan_modules.rules import Alternating, Simultaneous, UpdateRule

RULES = [
    item()
    for item in (getattr(rules, name) for name in rules.__all__)
    if inspect.isclass(item) and issubclass(item, UpdateRule) and not inspect.isabstract(item)
]
RULES.append(Alternating(3))

every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)


@pytest.fixture
def game(bilinear):
    """A bilinear game in one dimension, off its equilibrium."""
    return bilinear([[0.7]], [0.6], [-0.8])


@every_rule
def test_is_an_immutable_value(rule):
    with pytest.raises(AttributeError):
        rule.draws = 5
    with pytest.raises(AttributeError):
        rule.something = 5
    assert len({rule, copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))}) == 1


@every_rule
def test_moves_both_players_and_uses_all_of_its_draws_once(rule, game, loop):
    run = loop(game, rule, 0.1)
    before = run.point
    (after,) = run.iterate()
    assert (after != before).all()
    assert {call[1] for call in run.calls if call[0] == "step"} == {GENERATOR, DISCRIMINATOR}
    assert [call[1] for call in run.calls if call[0] == "draw"] == list(range(rule.draws))


@every_rule
def test_keeps_its_promise_where_it_shares(rule, game, loop):
    # shared=True: the other player's gradient on the same batch comes before the generator moves
    run = loop(game, rule, 0.1)
    list(run.iterate(2))
    for i, call in enumerate(run.calls):
        if call[0] == "gradient" and call[3]:
            later = run.calls[i + 1 :]
            partner = next(c for c in later if c[:3] == ("gradient", 1 - call[1], call[2]))
            moved = [c for c in later[: later.index(partner)] if c == ("step", GENERATOR)]
            assert not moved


@every_rule
def test_one_object_serves_many_games(rule, bilinear, loop):
    def run(rule):
        return loop(bilinear([[0.7]], [0.6], [-0.8]), rule, 0.1)

    first, second = run(rule), run(rule)
    together = [list(pair) for pair in zip(first.iterate(4), second.iterate(4), strict=True)]
    alone = list(run(copy.deepcopy(rule)).iterate(4))
    assert all(torch.equal(a, b) and torch.equal(a, c) for (a, b), c in zip(together, alone, strict=True))


@pytest.mark.parametrize("n", [1, 2, 5])
def test_alternating_trains_the_critic_on_fresh_batches_and_shares_the_last(n, game, loop):
    run = loop(game, Alternating(n), 0.1)
    list(run.iterate())
    critic = [
        call
        for k in range(n)
        for call in (("draw", k), ("gradient", DISCRIMINATOR, k, k == n - 1), ("step", DISCRIMINATOR))
    ]
    assert run.calls == [*critic, ("gradient", GENERATOR, n - 1, False), ("step", GENERATOR)]


def test_simultaneous_takes_both_gradients_at_the_same_point(game, loop):
    run = loop(game, Simultaneous(), 0.1)
    list(run.iterate())
    assert [call[0] for call in run.calls] == ["draw", "gradient", "gradient", "step", "step"]
    assert sum(call[0] == "gradient" and call[3] for call in run.calls) == 1


@pytest.mark.parametrize("n", [0, -1])
def test_alternating_needs_a_critic_step(n):
    with pytest.raises(ValueError, match=f"n_critic={n}"):
        Alternating(n)
