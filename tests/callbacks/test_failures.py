"""Each failure is named from numbers that show it, with a remedy that the command line takes, and no other run is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from callbacks.failures import FAILURES, Observation, Setting, diagnose
from gan_modules.cli import main

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"

#: a run that is well, as the quickstart's numbers are after some thousand iterations
WELL = {
    "fid": 2.0, "fid_floor": 0.7, "coverage": 0.98, "coverage_floor": 1.0, "recall": 0.9, "recall_floor": 0.96,
    "precision": 0.88, "precision_floor": 0.96, "vendi": 11.0, "vendi_floor": 11.6, "modes": 10.0, "modes_floor": 10.0,
    "mode_share_min": 0.08, "mode_share_min_floor": 0.09, "between": 0.12, "between_floor": 0.08,
    "copies": 0.016, "copies_floor": 0.01, "authenticity": 0.5, "authenticity_floor": 0.6,
    "health/signal": 0.2, "health/signal_share": 0.4, "health/auc/train": 0.8, "health/auc/held_out": 0.78,
    "health/overfitting": 0.1, "health/overfitting_error": 0.05, "health/cycle": 0.1, "game/lr_over_limit": 0.5,
    "game/unstable": 0.0, "loss/generator": 0.7, "loss/discriminator": 0.6, "logits/real": 0.3, "logits/fake": -0.3,
}  # fmt: skip
UNLIKE = {"fid": 100.0, "coverage": 0.1, "recall": 0.3, "precision": 0.1}
#: what shows each failure, beside a run that is well
ILL: dict[str, Mapping[str, float]] = {
    "numerical trouble": {"numbers/non_finite": 1.0},
    "spectral collapse": {"weights/discriminator/spectral_collapse": 1.0},
    "memorisation": {"copies": 0.6, "authenticity": 0.05},
    "discriminator overfitting": {
        "health/overfitting": 0.9, "health/auc/train": 0.99, "health/auc/held_out": 0.55, "recall": 0.3,
    },
    "limit cycle": {"health/cycle": 0.95, "health/period": 61.0, "game/eigenvalue/1/imag": 0.1},
    "divergence ahead": {"game/lr_over_limit": 1.05, "game/radius": 1.01},
    "vanishing gradient": {"health/signal": 1e-9, "health/signal_share": 1e-8} | UNLIKE,
    "mode collapse": {"modes": 3.0, "vendi": 3.0, "recall": 0.2, "coverage": 0.3},
    "discriminator overpowering": {"health/auc/train": 1.0, "health/auc/held_out": 1.0} | UNLIKE,
    "manifold collapse": {"between": 0.5, "precision": 0.4},
}  # fmt: skip


def course(*values: Mapping[str, float]) -> list[Observation]:
    return [Observation(100 * i, {**WELL, **v}) for i, v in enumerate(values, 1)]


def named(*values: Mapping[str, float], setting: Setting | None = None) -> list[str]:
    return [finding.failure for finding in diagnose(course(*values), setting)]


def test_every_failure_has_a_case() -> None:
    assert set(ILL) == set(FAILURES)


def test_what_the_latest_look_did_not_find_is_over() -> None:
    near = [{"game/lr_over_limit": 1.05, "game/radius": 1.01}] * 2
    without = [Observation(100 * i, values) for i, values in enumerate([*near, {"game/radius": 0.9}], 1)]
    assert [f.failure for f in diagnose(without[:2])] == ["divergence ahead"]
    assert diagnose(without) == []
    elsewhere = [*without[:2], Observation(300, {"fid": 2.0})]  # of another kind: the game was not looked at
    assert [f.failure for f in diagnose(elsewhere)] == ["divergence ahead"]


def test_a_run_that_is_well_is_left_alone() -> None:
    assert named({}, {}, {}) == []
    assert diagnose([]) == []
    assert diagnose([Observation(0, {})]) == []  # nothing measured, nothing said


@pytest.mark.parametrize("failure", FAILURES)
def test_what_shows_a_failure_names_it_first(failure: str) -> None:
    assert named({}, *[ILL[failure]] * 6)[0] == failure


@pytest.mark.parametrize("failure", [f for f in FAILURES if f != "numerical trouble"])
def test_one_observation_is_no_failure_yet(failure: str) -> None:
    assert failure not in named({}, {}, ILL[failure])


@pytest.mark.parametrize("failure", FAILURES)
def test_what_is_over_is_no_longer_named(failure: str) -> None:
    well = {"numbers/non_finite": 0.0, "weights/discriminator/spectral_collapse": 0.0}
    assert failure not in named(*[ILL[failure]] * 6, well)


@pytest.mark.parametrize("failure", FAILURES)
def test_evidence_has_numbers_and_the_remedy_is_a_config_line(failure: str) -> None:
    finding = diagnose(course(*[ILL[failure]] * 6), Setting(rates=(1e-3, 2e-3)))[0]
    assert finding.evidence
    assert finding.remedy.startswith("--")
    assert "nan" not in str(finding)
    assert str(finding).startswith(failure)


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize(
    "setting",
    [
        Setting("NonSaturating", "Alternating", "32-true", images=True),
        Setting("Minimax", "Extragradient", "16-mixed"),
        Setting("RelativisticPairing", "Alternating", parts=frozenset({"WeightClipping", "R1"})),
    ],
    ids=lambda s: s.loss,
)
def test_the_command_line_takes_the_remedy(failure: str, setting: Setting, capsys: pytest.CaptureFixture[str]) -> None:
    remedy = diagnose(course(*[ILL[failure]] * 6), setting)[0].remedy
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", str(QUICKSTART), *shlex.split(remedy), "--print_config"])
    assert ended.value.code == 0, capsys.readouterr().err
