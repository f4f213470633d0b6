"""A study holds or fails by its rows, says so by its exit status, and leaves a record, a table and a figure."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from matplotlib.figure import Figure

from studies import __main__ as cli
from studies import quickstart_seeds
from studies.harness import Findings, Row, Run, Study, mean_and_interval, panels


@dataclass(frozen=True)
class Squares(Study):
    """Squares of 2, measured without error."""

    base: float = 2.0
    exponent: int = 2

    FULL: ClassVar[dict[str, Any]] = {"exponent": 4}

    def measure(self, run: Run) -> Findings:
        if self.base == 0:
            raise ArithmeticError("base 0")
        powers = [self.base**self.exponent for _ in run.track(range(self.seeds), "seeds")]
        return Findings([Row("power", powers, 2**self.exponent, 1e-9), Row("nothing", math.nan)], powers)

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(1, 1)
        axes[0, 0].plot(findings.data)
        return figure


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A function (*arguments) -> exit status, of a command line that knows one study, and where it writes."""
    monkeypatch.setattr(cli, "summaries", lambda: {"squares": "Squares."})
    monkeypatch.setattr(cli, "load", lambda name: Squares)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli.main(list(arguments))


def test_a_run_leaves_its_record_and_figure(study, tmp_path, capsys):
    assert study("squares", "--seeds", "3", "--figures", "docs") == 0
    out = tmp_path / "runs" / "studies" / "squares"
    record = json.loads((out / "results.json").read_text())
    assert record["holds"]
    assert record["parameters"] == {"seeds": 3, "base": 2.0, "exponent": 2}
    assert record["rows"][0]["measured"] == [4.0] * 3
    assert record["rows"][1]["measured"] == ["nan"]
    assert {"versions", "machine", "seconds"} <= set(record)
    assert (tmp_path / "docs" / "squares.png").read_bytes() == (out / "figure.png").read_bytes()
    assert "squares holds" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--set", "base=2.1"], ["--set", "base=0"]], ids=["claim fails", "study breaks"])
def test_a_failure_is_the_exit_status(study, arguments):
    assert study("all", *arguments) == 1


def test_the_long_size_is_the_studys_own(study, tmp_path):
    assert study("squares", "--full") == 0
    record = json.loads((tmp_path / "runs" / "studies" / "squares" / "results.json").read_text())
    assert record["parameters"]["exponent"] == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["circles"], "no study is named circles; there are: squares"),
        (["squares", "--seeds", "0"], "--seeds 0"),
        (["squares", "--set", "radius=1"], "the parameters of Squares are seeds, base, exponent"),
        (["squares", "--set", "base=two"], "Python literal"),
    ],
)
def test_mistakes_are_named(study, arguments, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        study(*arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err


def test_every_study_is_listed_with_its_claim(capsys):
    assert cli.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(cli.summaries())
    for name, claim in cli.summaries().items():
        assert claim.endswith(".")
        assert cli.load(name).__module__ == f"studies.{name}"


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (Row("", 1.01, 1, 0.02), True),
        (Row("", [1.0, 1.03], 1, 0.02), False),  # each seed must hold
        (Row("", [1.0, 1.03], 1, 0.02, on_mean=True), True),
        (Row("", [], 1, 0.02), False),
        (Row("", math.nan, 1, 9.0), False),
        (Row("", math.inf, math.inf), True),
        (Row("", math.inf, 2, relation=">="), True),
        (Row("", 2.0, 1, relation="<="), False),
        (Row("", 0.99, 1, 0.02, relation=">="), True),
        (Row("", ["cycles", "cycles"], "cycles"), True),
        (Row("", ["cycles", "diverges"], "cycles"), False),
        (Row("", math.nan), True),  # only reported
    ],
)
def test_what_a_row_holds(row, holds):
    assert row.holds is holds


def test_an_interval_by_students_t():
    mean, half = mean_and_interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2)
    assert half == pytest.approx(4.302653 / 3**0.5)


def test_no_rows_hold_nothing():
    assert not Findings([]).holds


@pytest.mark.parametrize(("name", "value"), [(None, 0.0), ("modes", 9), ("fid / floor", 4.1), ("copies", 0.05)])
def test_the_quickstart_study_judges_every_seed(name, value, monkeypatch, tmp_path):
    good = {"fid": 1.8, "fid / floor": 2.7, "modes": 10, "mode kl": 0.01, "rarest class": 0.08, "copies": 0.02}
    monkeypatch.setattr(
        quickstart_seeds, "train", lambda seed, root: good | ({name: value} if name and seed == 1 else {})
    )
    status = cli.main(["quickstart_seeds", "--seeds", "2", "--out", str(tmp_path)])
    assert status == int(name is not None)
