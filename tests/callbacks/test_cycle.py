"""The period at which a trajectory returns, and what is not taken for one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import nn

from callbacks.cycle import Trajectory, dominant_cycle
from gan_modules.dynamics import GameJacobian, Play, stability
from gan_modules.rules import Simultaneous
from studies.hopf_network import HopfNetwork

Array = np.ndarray[Any, Any]
LENGTH = 4096


def turning(period: float, n: int = 8, length: int = LENGTH) -> Array:
    """As many sinusoids of that period, each with a phase of its own."""
    phases = np.random.default_rng(0).uniform(0, 2 * math.pi, n)
    return np.cos(2 * math.pi * np.arange(length)[:, None] / period + phases)


def noise(n: int, seed: int = 0, length: int = LENGTH) -> Array:
    return np.random.default_rng(seed).standard_normal((length, n))


@pytest.mark.parametrize("period", [2.0, 2.5, 3.3, 10.31, 37.0, 200.0, 480.0])
def test_a_period_is_found_beside_a_trend_and_a_random_walk(period: float) -> None:
    t = np.arange(LENGTH)[:, None] / LENGTH
    found = dominant_cycle(turning(period) + 30 * t + 5 * t**2 + 0.03 * noise(8).cumsum(0))
    assert found.period == pytest.approx(period, rel=0.01)
    assert found.strength > 0.8


SHAPES: dict[str, Callable[[Array], Array]] = {
    "growing": lambda x: x * np.exp(np.linspace(0, 4, LENGTH))[:, None],
    "square": np.sign,
    "cubed": lambda x: x**3,
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_neither_growth_nor_harmonics_hide_it(name: str) -> None:
    found = dominant_cycle(SHAPES[name](turning(37.0)) + 0.01 * noise(8))
    assert found.period == pytest.approx(37.0, rel=0.01)
    assert found.strength > 0.8


def test_a_fast_cycle_may_change_its_period_slowly() -> None:
    periods = np.linspace(8, 10, LENGTH)
    found = dominant_cycle(np.cos(2 * math.pi * np.cumsum(1 / periods)[:, None] + np.arange(4)))
    assert found.period == pytest.approx(10, rel=0.02)  # the latest
    assert found.strength > 0.8


def autoregressive(phi: float) -> Callable[[Array], Array]:
    return lambda e: lfilter([1], [1, -phi], e, axis=0)


NO_CYCLE: dict[str, Callable[[Array], Array]] = {
    "noise": lambda e: e,
    "red noise": autoregressive(0.9),
    "redder noise": autoregressive(0.99),
    "random walk": lambda e: e.cumsum(0),
    "smooth random walk": lambda e: e.cumsum(0).cumsum(0),
    "random walk that slows down": lambda e: (e * np.linspace(1, 0.05, len(e))[:, None]).cumsum(0),
    "decay": lambda e: 10 * np.exp(-np.arange(len(e))[:, None] / 300) + 0.01 * e,
}


@pytest.mark.parametrize("name", list(NO_CYCLE))
@pytest.mark.parametrize("length", [256, LENGTH])
def test_noise_trends_and_random_walks_are_no_cycle(name: str, length: int) -> None:
    many = [dominant_cycle(NO_CYCLE[name](noise(32, seed, length))).strength for seed in range(4)]
    assert max(many) < 0.15
    one = [dominant_cycle(NO_CYCLE[name](noise(1, seed, length))).strength for seed in range(8)]
    assert max(one) < 0.5


def test_a_spiral_that_has_died_out_is_no_cycle() -> None:
    shrinking = turning(37.0) * np.exp(-np.arange(LENGTH) / 500)[:, None]
    assert dominant_cycle(shrinking).strength < 0.1
    assert dominant_cycle(shrinking[:600]).strength > 0.3  # here it still turns


def test_turns_that_forget_each_other_count_less() -> None:
    def driven(turns: float) -> float:
        r, w = math.exp(-1 / (37 * turns)), 2 * math.pi / 37
        return dominant_cycle(lfilter([1], [1, -2 * r * math.cos(w), r * r], noise(16), axis=0)).strength

    strengths = [driven(turns) for turns in (0.5, 3, 30)]
    assert strengths == sorted(strengths)
    assert strengths[0] < 0.4
    assert strengths[-1] > 0.9


@pytest.mark.parametrize(
    "series",
    [np.zeros((100, 3)), noise(3, length=20), np.full((100, 2), np.nan), np.zeros((100, 0)), np.full((100, 2), 1e300)],
    ids=["at rest", "too short", "not finite", "no numbers", "at rest far away"],
)
def test_where_nothing_can_be_said_the_strength_is_zero(series: Array) -> None:
    found = dominant_cycle(series)
    assert found.strength == 0
    assert found.amplitude.shape == (series.shape[1],)


def test_the_amplitude_is_of_the_latest_turns() -> None:
    found = dominant_cycle(3 * turning(10.0, n=4))
    assert found.amplitude == pytest.approx(np.full(4, 3 / math.sqrt(2)), rel=0.01)


# --- the recorder -----------------------------------------------------------------------------------------------------


def test_the_latest_positions_come_oldest_first() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(2, 1)
    trajectory = Trajectory([first, second], coordinates=6, capacity=5)
    for k in range(8):
        with torch.no_grad():
            for p in (*first.parameters(), *second.parameters()):
                p.fill_(k)
        trajectory.record()
    positions = trajectory.positions()
    assert [p.shape[0] for p in positions] == [5, 5]
    for position in positions:
        assert (position == np.arange(3, 8)[:, None]).all()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last], ids=str)
def test_sums_over_few_coordinates_estimate_sums_over_all(memory: torch.memory_format) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 8, 3)).to(memory_format=memory)
    trajectory = Trajectory([network, nn.ReLU()], coordinates=256)
    trajectory.record()
    (position, none) = trajectory.positions()
    assert none.shape == (1, 0)
    total = sum(float(p.detach().square().sum()) for p in network.parameters())
    assert float((position**2 @ trajectory.weights[0])[0]) == pytest.approx(total, rel=0.15)
    assert trajectory.weights[0].sum() == pytest.approx(sum(p.numel() for p in network.parameters()))


def test_frozen_parameters_are_not_recorded() -> None:
    network = nn.Linear(2, 3)
    network.weight.requires_grad_(False)
    assert Trajectory([network]).sizes == [3]


@pytest.mark.slow
@pytest.mark.parametrize("past", [1.01, 1.05])
def test_a_networks_measured_period_is_the_predicted_one(past: float) -> None:
    rest = HopfNetwork()._equilibrium(3)
    found = stability(GameJacobian(rest.game, rest.batch), rule=Simultaneous(), lr=0.1)
    assert found.limit is not None
    play = Play(rest.game, Simultaneous(), past * 0.1 * found.limit, lambda k: rest.batch)
    direction = torch.randn(rest.position.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    play.position = rest.position + 0.3 * direction / direction.norm()
    trajectory = Trajectory(rest.game.players)
    for _ in range(500):
        play.step()
        trajectory.record()
    measured = dominant_cycle(np.concatenate(trajectory.positions(), axis=1))
    assert measured.strength > 0.8
    assert measured.period == pytest.approx(found.period, rel=0.1 if past > 1.02 else 0.02)
