from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from callbacks.metrics import ModeCoverage
from callbacks.metrics.known import Known, NotApplicable
from datamodules import RingDataModule


def _kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


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
        "mode_reverse_kl": 0,
        "mode_js": 0,
        "mode_entropy": pytest.approx(math.log(3)),
        "mode_share_min": pytest.approx(1 / 3),
        "high_quality": 1,
    }


def test_collapse_on_one_of_k_is_log_k_nats_from_uniform() -> None:
    """JS by the mixture's (1 + 1/K) / 2 in that mode and 1 / 2K in the others; the reverse KL with its half samples."""
    js = (math.log(2 * 8 / 9) + (math.log(2 / 9) + 7 * math.log(2)) / 8) / 2
    assert values(8, [5] * 10) == {
        "modes": 1,
        "mode_kl": pytest.approx(math.log(8)),
        "mode_reverse_kl": pytest.approx(
            math.log(14 / 1.5 / 8) - math.log(10.5 / 1.5) / 8 - 7 * math.log(0.5 / 1.5) / 8
        ),
        "mode_js": pytest.approx(js),
        "mode_entropy": 0,
        "mode_share_min": 0,
        "high_quality": 1,
    }


def test_samples_between_modes_count_for_the_shares_and_not_for_the_divergence() -> None:
    assert values(2, [0, 0, 0, 1, -1, -1, -1, -1]) == {
        "modes": 2,
        "mode_kl": pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5)),
        "mode_reverse_kl": pytest.approx(0.5 * math.log(0.5 / 0.7) + 0.5 * math.log(0.5 / 0.3)),
        "mode_js": pytest.approx(0.5 * (_kl([0.75, 0.25], [0.625, 0.375]) + _kl([0.5, 0.5], [0.625, 0.375]))),
        "mode_entropy": pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)),
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
    assert values(3, [-1, -1]) == {
        "modes": 0,
        "mode_kl": math.inf,
        "mode_reverse_kl": pytest.approx(0, abs=1e-15),
        "mode_js": pytest.approx(math.log(2)),
        "mode_entropy": 0,
        "mode_share_min": 0,
        "high_quality": 0,
    }


def test_each_lost_mode_adds_to_the_reverse_divergence_and_the_first_does_not_end_it() -> None:
    real = [mode for mode in range(8) for _ in range(100)]
    lost = [values(8, [mode for mode in real if mode >= k], real=real)["mode_reverse_kl"] for k in range(8)]
    assert lost[0] == 0
    assert min(after - before for before, after in pairwise(lost[:7])) > 0.25
    assert lost[1] == pytest.approx(math.log(2 * 100) / 8 + math.log(700 / 800), abs=0.01)


def test_disjoint_modes_are_log_2_apart() -> None:
    assert values(4, [0, 0, 1], real=[2, 3])["mode_js"] == pytest.approx(math.log(2))


def test_modes_are_counted_where_their_number_is_not_told() -> None:
    metric = ModeCoverage()
    metric.update(torch.tensor([0, 4]), real=True)
    metric.update(torch.tensor([1, -1]), real=False)
    metric.update(torch.tensor([0, 2, 2]), real=False)
    learnt = metric.compute()
    assert learnt == values(5, [1, -1, 0, 2, 2], real=[0, 4])
    assert learnt["modes"] == 3
    assert learnt["mode_share_min"] == 0


def test_the_number_of_modes_is_the_truths_or_else_the_classifiers() -> None:
    for known, modes in (
        (Known(RingDataModule(modes=5, batch_size=8).truth, 10), 5),
        (Known(extractor_classes=10), 10),
    ):
        metric = ModeCoverage()
        metric.setup(known)
        assert metric.num_modes == modes
    given = ModeCoverage(3)
    given.setup(Known(extractor_classes=10))
    assert given.num_modes == 3
    with pytest.raises(NotApplicable, match="needs modes"):
        ModeCoverage().setup(Known())


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
    with pytest.raises(ValueError, match=r"0 generated sample\(s\)"):
        metric.compute()
    metric.update(torch.tensor([0]), real=False)
    with pytest.raises(ValueError, match="none of 2 reals"):
        metric.compute()
