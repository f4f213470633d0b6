from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from callbacks.metrics import ModeCoverage


def values(num_modes: int, generated: list[int], real: list[int] | None = None) -> dict[str, float]:
    metric = ModeCoverage(num_modes)
    if real is not None:
        metric.update(torch.tensor(real), real=True)
    metric.update(torch.tensor(generated), real=False)
    return {name: value.item() for name, value in metric.compute().items()}


def test_even_coverage_is_perfect() -> None:
    assert values(3, [0, 1, 2, 2, 1, 0]) == {
        "modes": 3,
        "mode_kl": 0,
        "mode_share_min": pytest.approx(1 / 3),
        "high_quality": 1,
    }


def test_collapse_on_one_of_k_is_log_k_nats_from_uniform() -> None:
    assert values(8, [5] * 10) == {
        "modes": 1,
        "mode_kl": pytest.approx(math.log(8)),
        "mode_share_min": 0,
        "high_quality": 1,
    }


def test_samples_between_modes_count_for_the_shares_and_not_for_the_divergence() -> None:
    assert values(2, [0, 0, 0, 1, -1, -1, -1, -1]) == {
        "modes": 2,
        "mode_kl": pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5)),
        "mode_share_min": 1 / 8,
        "high_quality": 0.5,
    }


def test_reals_are_the_reference() -> None:
    assert values(3, [0, 0, 0, 1], real=[0, 0, 0, 1, -1])["mode_kl"] == pytest.approx(0, abs=1e-15)
    kl = values(3, [0, 1], real=[0, 0, 0, 1])["mode_kl"]
    assert kl == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))


def test_a_mode_that_the_reals_do_not_have_is_infinitely_far() -> None:
    assert values(3, [0, 2], real=[0, 1])["mode_kl"] == math.inf
    assert values(3, [0], real=[0, 1])["mode_kl"] == pytest.approx(math.log(2))


def test_nothing_in_any_mode() -> None:
    assert values(3, [-1, -1]) == {"modes": 0, "mode_kl": math.inf, "mode_share_min": 0, "high_quality": 0}


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (torch.tensor([0, 3]), "value 3, and num_modes=3 allows"),
        (torch.tensor([-2, 0]), "value -2"),
        (torch.zeros(2, 2, dtype=torch.int64), r"\(2, 2\)"),
        (torch.zeros(2), "float32"),
        (torch.ones(2, dtype=torch.bool), "bool"),
    ],
)
def test_bad_assignments_are_refused(assignment: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModeCoverage(3).update(assignment, real=False)


def test_what_cannot_be_computed_is_said() -> None:
    with pytest.raises(ValueError, match="num_modes=0"):
        ModeCoverage(0)
    metric = ModeCoverage(3)
    metric.update(torch.tensor([-1, -1]), real=True)
    with pytest.raises(ValueError, match="no generated samples"):
        metric.compute()
    metric.update(torch.tensor([0]), real=False)
    with pytest.raises(ValueError, match="none of 2 reals"):
        metric.compute()
