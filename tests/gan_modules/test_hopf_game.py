"""The Hopf normal form: its circle, where there is one."""

from __future__ import annotations

import math

import pytest
import torch

from gan_modules import HopfGame
from gan_modules.dynamics import GameJacobian, Play
from gan_modules.rules import Simultaneous


def run(game, lr, n):
    return torch.stack([x.norm() for x in Play(game, Simultaneous(), lr).trajectory(n)])


def test_the_field_is_the_normal_form():
    a, w, c = 0.3, 1.2, 0.7
    x, y = 0.4, -0.5
    field = torch.cat(GameJacobian(HopfGame(a, w, c, start=(x, y)), HopfGame().batch()).field)
    z = complex(x, y)
    expected = (-a + 1j * w - c * abs(z) ** 2) * z
    assert field.tolist() == pytest.approx([expected.real, expected.imag])


@pytest.mark.parametrize(("lr", "radius"), [(0.5, 0.4098160), (0.25, None)])
def test_steps_past_the_limit_end_on_the_circle(lr, radius):
    game = HopfGame(start=(0.2, 0.0))
    assert lr > game.stability_limit(Simultaneous())
    if radius is not None:
        assert game.cycle_radius(lr) == pytest.approx(radius, abs=1e-7)
    assert run(game, lr, 1200)[-1].item() == pytest.approx(game.cycle_radius(lr), rel=1e-6)


def test_below_the_limit_there_is_no_circle_and_steps_converge():
    game = HopfGame()
    lr = 0.9 * game.stability_limit(Simultaneous())
    assert game.cycle_radius(lr) == 0
    sizes = run(game, lr, 1000)
    assert sizes[-1] < sizes[500] < sizes[0]


def test_the_radius_grows_as_the_square_root():
    game = HopfGame()
    limit = game.stability_limit(Simultaneous())
    near, far = (game.cycle_radius((1 + e) * limit) for e in (1e-4, 4e-4))
    assert math.log(far / near) / math.log(4) == pytest.approx(0.5, abs=1e-3)


def test_a_subcritical_circle_repels():
    lr = 0.1  # below the limit of .198
    radius = HopfGame(c=-1.0).cycle_radius(lr)
    assert radius > 0
    assert run(HopfGame(c=-1.0, start=(0.97 * radius, 0.0)), lr, 300)[-1] < 0.9 * radius
    assert run(HopfGame(c=-1.0, start=(1.03 * radius, 0.0)), lr, 60)[-1] > 1.05 * radius


def test_mistakes():
    with pytest.raises(ValueError, match="HopfGame\\(w=nan\\)"):
        HopfGame(w=math.nan)
    with pytest.raises(ValueError, match="2 finite numbers"):
        HopfGame(start=(1.0,))
