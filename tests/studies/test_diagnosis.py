"""The study of the diagnosis: what a run shows is decided by the truth alone, and rules that are mute or jumpy fail."""

from __future__ import annotations

import math

import pytest
import torch

from callbacks.failures import Finding, Observation
from studies import diagnosis
from studies.__main__ import main
from studies.diagnosis_runs import CASES, FIRST, POINT, RING, SECOND, Recorded, Task, mlps, recorded
from studies.diagnosis_truth import (
    CYCLE,
    DIVERGENCE,
    HEALTHY,
    MEMORISATION,
    MODES,
    NEITHER,
    NUMERICAL,
    SPECTRAL,
    above,
    energy_coefficient,
    turns,
    verdict,
)

WELL = {"distance": 0.01, "modes": 1.0, "off": 0.01, "copied": 0.1, "known": 0.5, "told": 0.5, "moved": 0.1}
STILL = [[0.0, 0.0]] * 200
ROUND = [[math.cos(0.2 * t), math.sin(0.2 * t)] for t in range(400)]


@pytest.fixture
def status(tmp_path, monkeypatch):
    """A function (says) -> exit status of the study on scripted runs, of which rules say ``says(failure shown)``."""

    def run(says):
        def scripted(task, root):
            shown = task.of.meant
            values = {"shown": float(list(CASES).index(task.case))}
            observations = [Observation(100 * i, values) for i in range(1, 9)]
            ended = "Training stopped" if shown == NUMERICAL else ""
            modes = 0.2 if shown == MODES else 1.0
            return Recorded(
                task, observations, [WELL | {"modes": modes, "rank/G": 1.0, "rank/D": 1.0}] * 8, STILL, ended, False
            )

        def diagnose(observations):
            shown = CASES[list(CASES)[int(observations[-1].values["shown"])]].meant
            return [Finding(name, ("so",), "", "") for name in says(shown)]

        monkeypatch.setattr(diagnosis, "recorded", scripted)
        monkeypatch.setattr(diagnosis, "diagnose", diagnose)
        ways = (
            "ways=((('R1', 'ring'),), (('R1, D stops', 'ring'), ('R3, D stops', 'grid')), (('W, no bound', 'ring'),))"
        )
        return main(["diagnosis", "--out", str(tmp_path), "--seeds=2", "--set=healthy=2", "--set", ways])

    return run


def test_it_holds_where_rules_are_right(status, tmp_path):
    assert status(lambda shown: [] if shown == HEALTHY else [shown]) == 0
    assert (tmp_path / "diagnosis" / "figure.png").exists()


def test_mute_rules_and_jumpy_ones_and_those_that_mistake_one_failure_for_another_break_it(status):
    assert status(lambda shown: []) == 1
    assert status(lambda shown: [MODES] if shown == HEALTHY else [shown]) == 1
    assert status(lambda shown: [] if shown == HEALTHY else [NUMERICAL]) == 1


def test_a_run_that_does_not_show_what_it_was_made_for_counts_as_neither():
    def shown(meant, path=STILL, ended="", beyond=False, **changed):
        return verdict(meant, [WELL | {"rank/G": 1.0, "rank/D": 1.0} | changed] * 6, path, ended, beyond)

    assert shown(HEALTHY) == HEALTHY
    assert shown(HEALTHY, distance=0.3) == shown(HEALTHY, off=0.5) == shown(HEALTHY, path=ROUND) == NEITHER
    assert (shown(MODES), shown(MODES, modes=0.4)) == (NEITHER, MODES)
    assert (shown(MEMORISATION), shown(MEMORISATION, copied=0.9)) == (NEITHER, MEMORISATION)
    assert (shown(SPECTRAL), shown(SPECTRAL, **{"rank/D": 0.02})) == (NEITHER, SPECTRAL)
    assert (shown(CYCLE), shown(CYCLE, path=ROUND)) == (NEITHER, CYCLE)
    assert (shown(DIVERGENCE), shown(DIVERGENCE, beyond=True)) == (NEITHER, DIVERGENCE)
    assert (shown(NUMERICAL), shown(NUMERICAL, ended="NaN")) == (NEITHER, NUMERICAL)
    assert shown(MODES, modes=0.4, ended="NaN") == NEITHER


def test_what_the_truth_measures():
    x = torch.randn(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert abs(energy_coefficient(x, x)) < 1e-12
    assert energy_coefficient(x, x + 100.0) > 0.95
    assert above(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 0.0])) == 7 / 8
    times, uneven = turns(ROUND)
    assert times == pytest.approx(0.2 * 200 / (2 * math.pi), abs=1.0)
    assert uneven < 0.05
    assert turns(STILL) == (0.0, math.inf)


def test_a_layer_of_rank_one_stays_so_in_training():
    g, d = mlps(2, rank=(0, 1))
    optimizer = torch.optim.SGD(d.parameters(), lr=0.1)
    d(torch.randn(8, 2)).square().sum().backward()
    optimizer.step()
    ranks = [int(torch.linalg.matrix_rank(m.weight)) for m in d.modules() if isinstance(m, torch.nn.Linear)]
    assert set(ranks) == {1}
    assert min(int(torch.linalg.matrix_rank(m.weight)) for m in g.modules() if isinstance(m, torch.nn.Linear)) == 2


def test_a_cycle_and_the_divergence_of_a_game_of_two_numbers_are_seen(tmp_path):
    cycle = recorded(Task("Dirac NS", POINT, 3, iterations=1200, every=300), tmp_path)
    assert cycle.shows == CYCLE
    ahead = recorded(Task("Dirac W, near h*", POINT, 3, iterations=400, every=100), tmp_path)
    assert ahead.shows == DIVERGENCE
    assert [o.iteration for o in ahead.observations] == [100, 200, 300, 400]
    assert ahead.observations[-1].values["game/lr_over_limit"] == pytest.approx(0.95, abs=0.01)  # of h* = gamma


def test_a_run_that_ends_without_numbers_is_kept_with_what_was_seen_before(tmp_path):
    run = recorded(Task("W, no bound", RING, 3, iterations=400, every=50, samples=200), tmp_path)
    assert run.ended
    assert run.shows == NUMERICAL
    assert run.observations[-1].values["numbers/non_finite"] == 1.0
    again = recorded(run.task, tmp_path)  # read, not trained
    assert (again.ended, again.observations) == (run.ended, run.observations)


def test_ways_are_judged_that_thresholds_were_not_chosen_on():
    from studies.diagnosis_runs import TUNING

    judged = {way for ways in (*FIRST, *SECOND) for way in ways if way[1] != POINT}
    assert not judged & set(TUNING)
    assert all(len({CASES[case].meant for case, _ in ways}) == 1 for ways in (*FIRST, *SECOND))
