"""Lazy regularisation."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from gan_modules.penalties import R1, R2, GradientPenalty, LazyPenalty


@pytest.mark.parametrize("penalty", [R1(0.3), R2(2.0), GradientPenalty(4.0)], ids=lambda p: p.name)
@pytest.mark.parametrize("every", [1, 2, 5])
def test_mean_over_a_period_is_the_penalty(penalty, every, smooth, d_pass):
    lazy, discriminator = LazyPenalty(penalty, every), smooth()
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    expected = penalty.discriminator(d_pass(discriminator, real, fake, penalty))
    for first in (0, 7 * every):
        values = [lazy(d_pass(discriminator, real, fake, lazy, index=first + i)) for i in range(every)]
        due = [value for value in values if value is not None]
        assert len(due) == 1
        assert_close(due[0] / every, expected, rtol=1e-12, atol=0)


def test_costs_nothing_where_it_is_not_due(smooth, d_pass, count_forwards):
    discriminator = smooth()
    calls = count_forwards(discriminator)
    lazy = LazyPenalty(R1(), every=4)
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    for index, forwards in ((0, [6, 6]), (1, [12]), (3, [12]), (4, [6, 6])):
        calls.clear()
        d = d_pass(discriminator, real, fake, lazy, index=index)
        assert d.real_logits.shape == d.fake_logits.shape
        lazy(d)
        assert calls == forwards


def test_is_logged_under_the_name_of_what_it_wraps():
    assert LazyPenalty(R1()).name == R1().name


@pytest.mark.parametrize("every", [0, -3])
def test_period_below_one_is_refused(every):
    with pytest.raises(ValueError, match=f"every={every}"):
        LazyPenalty(R1(), every)
