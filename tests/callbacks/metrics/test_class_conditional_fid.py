from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from callbacks.metrics import ClassConditionalFID, FrechetDistance
from callbacks.metrics.known import Known, NotApplicable


def rows(n: int, d: int, seed: int) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(n: int, classes: int) -> Tensor:
    return torch.arange(n) % classes


def distance(real: Tensor, fake: Tensor) -> float:
    metric = FrechetDistance()
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


def values(metric: ClassConditionalFID, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]) -> dict[str, float]:
    metric.update(real[0], True, real[1])
    metric.update(fake[0], False, fake[1])
    return {name: value.item() for name, value in metric.compute().items()}


def test_each_class_has_the_distance_of_its_samples() -> None:
    real, fake, of_real, of_fake = rows(300, 5, 0), 2 * rows(200, 5, 1), labels(300, 3), labels(200, 3)
    each = [distance(real[of_real == k], fake[of_fake == k]) for k in range(3)]
    result = values(ClassConditionalFID(3), (real, of_real), (fake, of_fake))
    assert result["fid_class_mean"] == pytest.approx(sum(each) / 3, rel=1e-12)
    assert result["fid_class_worst"] == pytest.approx(max(each), rel=1e-12)


def test_sees_classes_that_are_confused_and_one_that_collapses() -> None:
    at = torch.tensor([[0.0, 0.0], [8.0, 0.0]]).double()
    of = labels(400, 2)
    real = (at[of] + rows(400, 2, 0), of)
    held_out = values(ClassConditionalFID(2), real, (at[of] + rows(400, 2, 1), of))
    confused = values(ClassConditionalFID(2), real, (at[of] + rows(400, 2, 1), 1 - of))
    assert held_out["fid_class_worst"] < 0.3
    assert confused["fid_class_mean"] == pytest.approx(64, rel=0.1)
    assert distance(real[0], at[of] + rows(400, 2, 1)) < 0.3  # which FID of all cannot see
    one = torch.where((of == 1)[:, None], at[1], at[0] + rows(400, 2, 1))
    collapsed = values(ClassConditionalFID(2), real, (one, of))
    assert collapsed["fid_class_worst"] == pytest.approx(2, rel=0.2)  # the trace of its covariance
    assert collapsed["fid_class_mean"] == pytest.approx(1, rel=0.2)


def test_the_number_of_classes_is_known_or_given() -> None:
    metric = ClassConditionalFID()
    with pytest.raises(ValueError, match="give num_classes=, or call setup"):
        metric.update(rows(4, 2, 0), True, labels(4, 2))
    metric.setup(Known(num_classes=2))
    assert values(metric, (rows(40, 2, 0), labels(40, 2)), (rows(40, 2, 1), labels(40, 2)))["fid_class_mean"] >= 0
    given = ClassConditionalFID(5)
    given.setup(Known(num_classes=2))
    assert given.num_classes == 5
    with pytest.raises(NotApplicable, match="class-conditional"):
        ClassConditionalFID().setup(Known())


def test_a_class_without_samples_is_named() -> None:
    real, fake = (rows(30, 2, 0), labels(30, 3)), (rows(30, 2, 1), 2 * labels(30, 2))
    with pytest.raises(ValueError, match=r"0 generated sample\(s\), and the covariance of class 1 needs at least 2"):
        values(ClassConditionalFID(3), real, fake)
    with pytest.raises(ValueError, match=r"0 real sample\(s\), and the covariance of class 1 needs"):
        values(ClassConditionalFID(3), fake, real)


def test_memory_is_bounded_before_it_is_taken() -> None:
    gib = 3 * 41**2 * 8 / 2**30  # of three moments at d = 40
    metric = ClassConditionalFID(4, max_memory=gib)
    for real in (True, False):
        metric.update(rows(4096, 40, 0), real, labels(4096, 4))  # no more than 1,024 a class: the rows themselves
    metric.update(rows(3, 40, 1), True, labels(3, 3))
    with pytest.raises(ValueError, match=r"moments of 4 of 2 x 4 classes at d=40 .* max_memory"):
        metric.update(rows(4, 40, 1), True, labels(4, 4))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.tensor([0, 3]), "value 3, and num_classes=3 allows 0 to 2"),
        (torch.tensor([0, -1]), "value -1"),
        (torch.tensor([0]), r"\(1,\)"),
        (torch.zeros(2), "float32"),
    ],
)
def test_bad_labels_are_refused_and_change_nothing(wrong: Tensor, message: str) -> None:
    metric: Any = ClassConditionalFID(3)
    with pytest.raises(ValueError, match=message):
        metric.update(rows(2, 4, 0), True, wrong)
    assert not any(metric.num_rows(f"real_{k}") for k in range(3))
    with pytest.raises(ValueError, match="num_classes=0"):
        ClassConditionalFID(0)
