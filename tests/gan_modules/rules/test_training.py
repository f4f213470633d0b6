"""Every rule under the real Trainer: counting, schedules, precision, checkpoints, several processes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from recipes import make, parameters, quiet_trainer, ring
from rule_recipes import (
    ONE_OF_EACH,
    RULES,
    SMALL,
    StatefulPlay,
    by_gradient_descent,
    defined_with,
    gradient_descent,
    predicted,
    trained_on_ranks,
)
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR
from torch.testing import assert_close
from workers import GlooPool

from gan_modules import BilinearGame
from gan_modules.optimizers import Adam
from gan_modules.rules import (
    Consensus,
    Extragradient,
    Lookahead,
    NegativeMomentum,
    Optimistic,
    Simultaneous,
    SymplecticAdjustment,
    Unrolled,
    UpdateRule,
)

pytestmark = pytest.mark.filterwarnings("ignore")
every_rule = pytest.mark.parametrize("rule", RULES, ids=repr)
one_of_each = pytest.mark.parametrize("rule", ONE_OF_EACH, ids=repr)
A = torch.tensor([[1.0, 2.0, 0.0], [-1.0, 0.5, 3.0]], dtype=torch.float64)
START = SMALL * torch.tensor([0.3, -1.0, 0.8, 0.1, -0.5], dtype=torch.float64)


def customary(rule: UpdateRule, **kwargs):
    """A small GAN by the rule and Adam, or plain gradients where the rule asks for them."""
    takes_adam = defined_with(rule, [Adam([nn.Parameter(torch.zeros(1))])])
    return make("R3GAN", rule=rule, **kwargs) if takes_adam else by_gradient_descent(rule, **kwargs)


def run(model, **kwargs):
    trainer = quiet_trainer(**{"num_sanity_val_steps": 0, "limit_val_batches": 0, **kwargs})
    trainer.fit(model, ring())
    return trainer


@one_of_each
def test_counts_iterations_moves_both_players_and_repeats_itself(rule):
    runs = []
    for _ in range(2):
        model = customary(rule, seed=3)
        before = parameters(model)
        assert run(model, max_steps=3).global_step == 3
        runs.append(parameters(model))
    for player in ("generator.", "discriminator.", "generator_ema."):
        assert any(not torch.equal(before[n], runs[0][n]) for n in before if n.startswith(player)), player
    for name, value in runs[0].items():
        assert value.isfinite().all(), name
        assert torch.equal(value, runs[1][name]), name


def bilinear(rule, lr=0.2, **kwargs):
    sgd = partial(SGD, lr=lr)
    return BilinearGame(A, START, rule=rule, generator_optimizer=sgd, discriminator_optimizer=sgd, **kwargs)


@every_rule
def test_follows_the_learning_rate_schedules_of_both_players(rule, fit):
    n, decays = 4, (0.5, 0.8)
    schedules = [partial(ExponentialLR, gamma=decay) for decay in decays]
    game = bilinear(rule, generator_scheduler=schedules[0], discriminator_scheduler=schedules[1])
    fit(game, n)

    rates = [tuple(0.2 * decay**t for decay in decays) for t in range(n)]
    play = StatefulPlay(BilinearGame(A, START), rule, gradient_descent(0.2))
    expected = play.state
    for pair in rates:
        for optimizer, rate in zip(play.optimizers, pair, strict=True):
            optimizer.param_groups[0]["lr"] = rate
        play.step()
    assert_close(game.position / SMALL, play.position / SMALL, rtol=1e-12, atol=1e-12)
    if rule.period == 1:
        for pair in rates:
            expected = predicted(StatefulPlay(BilinearGame(A), rule, gradient_descent(*pair)))(expected)
        assert_close(game.position / SMALL, expected[:5] / SMALL, rtol=1e-9, atol=1e-9)


@one_of_each
def test_motion_ends_where_the_learning_rate_is_zero(rule, fit):
    # optimistic gradients take back the look ahead of the last step, and momentum dies out
    once = partial(LambdaLR, lr_lambda=lambda t: float(t == 0))
    game = bilinear(rule, generator_scheduler=once, discriminator_scheduler=once)
    points = []
    fit(game, 40, after=lambda _: points.append(game.position / SMALL))
    assert (points[0] - START / SMALL).norm() > 0.1
    assert torch.stack(points).isfinite().all()
    assert (points[-1] - points[-6]).norm() < 1e-8


@pytest.mark.parametrize("through", ["play", "trainer"])
def test_simultaneous_expands_each_singular_plane(through, fit):
    game, n = bilinear(Simultaneous()), 7
    before = game.in_planes(game.position)
    if through == "trainer":
        fit(game, n)
    else:
        play = StatefulPlay(game, Simultaneous(), gradient_descent(0.2))
        list(play.trajectory(n))
    growth = (1 + (0.2 * torch.linalg.svdvals(A)).square()).sqrt()
    assert_close(game.in_planes(game.position) / SMALL, growth**n * before / SMALL)


@one_of_each
def test_mixed_precision_takes_nearly_the_same_step(rule):
    moves = []
    for precision in ("32-true", "bf16-mixed"):
        model = by_gradient_descent(rule, lr=0.1)
        before = parameters(model)
        run(model, max_steps=1, precision=precision)
        after = parameters(model)
        assert all(p.dtype == torch.float32 for p in after.values())
        names = [n for n in before if not n.startswith("generator_ema.")]
        moves.append(torch.cat([(after[n] - before[n]).flatten() for n in names]))
    assert moves[1].isfinite().all()
    assert (moves[0] - moves[1]).norm() < 0.03 * moves[0].norm()


REMEMBERING = [
    Optimistic(),
    Lookahead(Simultaneous(), k=5),
    NegativeMomentum(),
    Lookahead(Optimistic(), k=2),
    NegativeMomentum(Lookahead(Extragradient(), k=4)),
]


@pytest.mark.parametrize("rule", [*REMEMBERING, *(r for r in ONE_OF_EACH if not r.cost.memory)], ids=repr)
def test_resumed_run_is_the_uninterrupted_one(rule, tmp_path: Path):
    whole = customary(rule)
    run(whole, max_steps=7)
    first = customary(rule)
    run(first, max_steps=3).save_checkpoint(tmp_path / "c.ckpt")
    saved = torch.load(tmp_path / "c.ckpt", weights_only=True)
    held = sum(t.numel() for t in tensors(saved["rule_state"]))
    assert held == rule.cost.memory * sum(p.numel() for player in first.players for p in player.parameters())

    resumed = customary(rule)
    trainer = quiet_trainer(num_sanity_val_steps=0, limit_val_batches=0, max_steps=7)
    trainer.fit(resumed, ring(), ckpt_path=tmp_path / "c.ckpt", weights_only=True)
    assert trainer.global_step == 7
    for name, value in parameters(whole).items():
        assert torch.equal(value, parameters(resumed)[name]), name


def tensors(tree):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


@pytest.mark.parametrize("rule", REMEMBERING, ids=repr)
def test_memory_lost_would_be_seen(rule, tmp_path: Path):
    runs = []
    for forgets in (False, True):
        model = customary(rule)
        run(model, max_steps=3).save_checkpoint(tmp_path / "c.ckpt")
        if forgets:
            saved = torch.load(tmp_path / "c.ckpt", weights_only=True)
            del saved["rule_state"]
            torch.save(saved, tmp_path / "c.ckpt")
        again = customary(rule)
        quiet_trainer(max_steps=7).fit(again, ring(), ckpt_path=tmp_path / "c.ckpt")
        runs.append(parameters(again))
    assert any(not torch.equal(value, runs[1][name]) for name, value in runs[0].items())


def test_two_processes_follow_the_gradients_of_one_on_the_joined_batch(gloo: GlooPool):
    rules = [*ONE_OF_EACH, Lookahead(Unrolled(1), k=2)]
    alone = trained_on_ranks(0, 1, rules)
    together = gloo(trained_on_ranks, rules)
    for rule, one, first, second in zip(rules, alone, *together, strict=True):
        for name, expected in one.items():
            assert_close(first[name], expected, rtol=1e-9, atol=1e-11, msg=f"{rule}: {name}")
            assert torch.equal(first[name], second[name]), f"{rule}: {name}"


@pytest.mark.parametrize("rule", [Consensus(), SymplecticAdjustment(), Extragradient(), Optimistic()], ids=repr)
def test_clipping_bounds_what_the_rule_makes_of_the_gradients(rule):
    model = by_gradient_descent(rule, lr=1.0, gradient_clip_norm=1e-3)
    before = parameters(model)
    run(model, max_steps=1)
    for player in ("generator.", "discriminator."):
        moves = [(value - before[n]).flatten() for n, value in parameters(model).items() if n.startswith(player)]
        # optimistic gradients move twice as far as the optimizer at first
        assert float(torch.cat(moves).norm()) <= 2.001e-3
