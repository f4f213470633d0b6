"""Lazy regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch.testing import assert_close

from gan_modules import NSGAN
from gan_modules.penalties import R1, R2, GradientPenalty, LazyPenalty, LeCam, Penalty, SpectralNorm
from gan_modules.rules import Alternating, Extragradient


@dataclass(frozen=True)
class Both(Penalty):
    """The logits' sums in both losses, counting how often it is asked."""

    layers = ("0",)

    def discriminator(self, d):
        return d.real_logits.sum()

    def generator(self, d):
        return d.fake_logits.sum()


@pytest.mark.parametrize("penalty", [R1(0.3), R2(2.0), GradientPenalty(4.0), Both()], ids=lambda p: p.name)
@pytest.mark.parametrize("every", [1, 2, 5])
def test_mean_over_a_period_is_the_penalty(penalty, every, smooth, d_pass):
    lazy, discriminator = LazyPenalty(penalty, every), smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    for first in (0, 7 * every):
        passes = [d_pass(discriminator, real, fake, lazy, iteration=first + i) for i in range(every)]
        due, *others = [lazy.discriminator(d) for d in passes]
        assert_close(due / every, penalty.discriminator(passes[0]), rtol=1e-12, atol=0)
        assert others == [None] * (every - 1)
    # a diagnostic wants the mean
    expected = penalty.discriminator(d_pass(discriminator, real, fake, penalty))
    assert_close(lazy.discriminator(d_pass(discriminator, real, fake, lazy, index=None)), expected)


@pytest.mark.parametrize("first", ["discriminator", "generator"])
@pytest.mark.parametrize(("n_critic", "every"), [(1, 3), (2, 4), (5, 2), (3, 3)])
def test_both_players_meet_it_in_all_draws_of_an_iteration_once_in_so_many(n_critic, every, first, tiny, fit):
    seen = []

    class Counted(Both):
        layers = ()

        def discriminator(self, d):
            seen.append("discriminator")
            return super().discriminator(d)

        def generator(self, d):
            seen.append("generator")
            return super().generator(d)

    fit(tiny(NSGAN, penalties=(LazyPenalty(Counted(), every),), rule=Alternating(n_critic, first)), 2 * every)
    assert seen.count("discriminator") == 2 * n_critic
    assert seen.count("generator") == 2


@pytest.mark.parametrize("every", [2, 3])
def test_both_steps_of_an_extragradient_carry_it(every, tiny, fit):
    # were it due by the draw, an even period would meet the extrapolation only, which moves nothing
    due = []

    class Counted(Both):
        layers = ()

        def discriminator(self, d):
            due.append(d.batch.index)
            return super().discriminator(d)

    fit(tiny(NSGAN, penalties=(LazyPenalty(Counted(), every),), rule=Extragradient(fresh=True)), 2 * every)
    assert due == [0, 1, 2 * every, 2 * every + 1]


def test_costs_nothing_where_it_is_not_due(smooth, d_pass, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    lazy = LazyPenalty(R1(), every=4)
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    for iteration, forwards in ((0, [6, 6]), (1, [12]), (3, [12]), (4, [6, 6])):
        calls.clear()
        d = d_pass(discriminator, real, fake, lazy, iteration=iteration)
        assert d.real_logits.shape == d.fake_logits.shape
        lazy.discriminator(d)
        assert calls == forwards


def test_says_of_itself_what_its_penalty_says(smooth, d_pass):
    assert LazyPenalty(R1()).name == R1().name
    assert LazyPenalty(GradientPenalty(1.0, 0.5)).slope == ("interpolated", 0.5)
    assert LazyPenalty(Both()).layers == ("0",)
    # what remembers does so in every iteration
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    d = d_pass(smooth(), real, fake, lazy := LazyPenalty(LeCam(), every=16), iteration=1)
    assert lazy.init().keys() == LeCam().init().keys()
    assert lazy.update(d)["draws"] == 1


@pytest.mark.parametrize("every", [0, -3])
def test_period_below_one_is_refused(every):
    with pytest.raises(ValueError, match=f"every={every}"):
        LazyPenalty(R1(), every)


def test_what_is_no_penalty_is_refused():
    with pytest.raises(TypeError, match=r"penalty=SpectralNorm\(.*give a Penalty"):
        LazyPenalty(SpectralNorm())
