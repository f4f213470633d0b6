"""The study of the collapse alarm: who collapsed is decided by modes alone, and an alarm that is off fails it."""

from __future__ import annotations

import pytest

from callbacks.collapse_rule import CollapseRule
from studies import collapse_alarm
from studies.__main__ import main
from studies.collapse_alarm import EARLY, Judged
from studies.collapse_runs import BETWEEN, CASES, COLLAPSED, INTACT, UNSEEN, Task, losses, recorded, verdict
from studies.harness import Run

FLOORS = {"coverage_floor": 0.97, "recall_floor": 0.98, "vendi_floor": 17.0}
EVALUATIONS, FALL = 20, 12


def rows(share: float, alarm: CollapseRule, keep_until: int = FALL - 1) -> list[dict[str, float]]:
    """Evaluations of a run that has a level of 8 modes, and from FALL on this share of everything."""
    found = []
    for i in range(EVALUATIONS):
        left = share if i >= FALL else 1.0
        values = {"coverage": 0.8 * left, "recall": 0.9 * left, "vendi": 16.0 * left}
        drops = alarm.see(values, 1000)
        logged = {f"collapse/{name}": drop.share for name, drop in drops.items()}
        state = {"iteration": 50.0 * (i + 1), "modes": round(8 * left), "before": 50.0 * keep_until}
        found.append(values | FLOORS | logged | state | {"collapse/alarm": float(alarm.collapsed)})
    return found


@pytest.fixture
def status(tmp_path, monkeypatch):
    """A function (rule) -> exit status of the study on scripted runs, every other of which loses six of eight modes."""

    def run(rule=None) -> int:
        def scripted(task, root, alarm, settings):
            return rows(0.25 if task.seed % 2 else 1.0, alarm.rule if rule is None else rule())

        monkeypatch.setattr(collapse_alarm, "recorded", scripted)
        return main(["collapse_alarm", "--out", str(tmp_path), "--seeds", "3", "--set=limit=12"])

    return run


def test_it_holds_where_the_alarm_is_right(status, tmp_path):
    assert status() == 0
    assert (tmp_path / "collapse_alarm" / "figure.png").exists()
    assert '"named at": 650.0' in (tmp_path / "collapse_alarm" / "runs.json").read_text()


def test_a_deaf_alarm_and_a_jumpy_one_break_it(status):
    assert status(lambda: CollapseRule(1e9, 0.3)) == 1

    class Jumpy(CollapseRule):
        def see(self, values, n=None, floors=None):
            drops = super().see(values, n, floors)
            self.collapsed = True
            return drops

    assert status(lambda: Jumpy(4.0, 0.3)) == 1


def test_modes_alone_decide_who_collapsed():
    up = [0, 2, 5, 8, 8, 8]
    assert verdict([*up, 4, 3, 1], 8) == (COLLAPSED, 6)
    assert verdict([*up, 4, 8, 8], 8) == (INTACT, None)  # one evaluation is none
    assert verdict([*up, 6, 6, 6], 8) == (INTACT, None)
    assert verdict([*up, 5, 5, 5], 8) == (BETWEEN, None)
    assert verdict([3, 3, 3, 1, 1, 1], 8) == (INTACT, None)  # never had half
    assert losses([8, 8, 4, 2], 8) == [0.0, 0.0, 0.5]


def test_alarms_count_where_they_are_about_the_collapse():
    def judged(*on: int, onset: int | None = 10) -> Judged:
        evaluations = [
            {"collapse/alarm": float(i in on), "iteration": 50.0 * (i + 1), "modes": 8, "before": 0.0}
            for i in range(EVALUATIONS)
        ]
        return Judged(Task("R1", "ring", 0), evaluations, COLLAPSED if onset else INTACT, onset)

    assert judged(11, 12).delay == 50
    assert judged(10 - EARLY).delay == -50 * EARLY
    assert (judged(2).delay, judged(2).false) == (None, True)
    assert judged(2, 12).false
    assert judged(2, onset=None).false
    assert not judged(onset=None).false


@pytest.mark.slow
@pytest.mark.parametrize("case", [*CASES, *UNSEEN])
def test_every_case_is_trained_and_judged(case, tmp_path):
    from callbacks import CollapseAlarm

    task = Task(case, "mixture", 0, iterations=20, every=5, samples=100)
    found = recorded(task, Run(tmp_path).out, CollapseAlarm(), {})
    assert [row["iteration"] for row in found] == [5, 10, 15, 20]
    assert all(0 <= row["modes"] <= 10 for row in found)
