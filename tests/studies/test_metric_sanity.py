"""Corruptions are what they say, deviations count from the floor, and a metric that judges wrongly is found out."""

from __future__ import annotations

import math

import pytest
import torch

from callbacks.metrics import FrechetDistance
from studies import metric_sanity
from studies.__main__ import main
from studies.corruptions import CORRUPTIONS, DATA, NONE, Data, Deal, Digits, Hairpin, applies
from studies.harness import Run
from studies.metric_sanity import Effects, MetricSanity, markdown


@pytest.fixture(params=sorted(DATA), scope="module")
def data(request: pytest.FixtureRequest) -> Data:
    return DATA[request.param]()


@pytest.fixture(scope="module")
def deal(data: Data) -> Deal:
    return data.deal(torch.Generator().manual_seed(0))


def corrupted(name: str, data: Data, deal: Deal) -> tuple[torch.Tensor, torch.Tensor]:
    return CORRUPTIONS[name](data, deal, torch.Generator().manual_seed(1))


def distinct(samples: torch.Tensor) -> int:
    return len(torch.unique(samples.flatten(1), dim=0))


def shared(samples: torch.Tensor, others: torch.Tensor) -> int:
    """How many of the samples are among the others."""
    return int((samples.flatten(1)[:, None] == others.flatten(1)[None]).all(2).any(1).sum())


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_as_many_samples_of_the_datas_shape_as_a_perfect_generators(name: str, data: Data, deal: Deal) -> None:
    if not applies(name, data):
        pytest.skip("is not for such data")
    samples, labels = corrupted(name, data, deal)
    assert samples.shape == (data.n, *data.known.shape)
    assert labels.shape == (data.n,)
    assert torch.equal(samples, corrupted(name, data, deal)[0])
    assert data.known.truth is not None or 0 <= samples.min() <= samples.max() <= 1


def test_a_perfect_generators_samples_are_nobodys(data: Data, deal: Deal) -> None:
    samples, _ = corrupted(NONE, data, deal)
    for part in (deal.training[0], deal.held_out[0]):
        assert shared(samples, part) < 0.02 * data.n  # of 1,797 digits some are the same
    assert distinct(samples) > 0.98 * data.n
    assert shared(corrupted("memorised", data, deal)[0], deal.training[0]) == data.n


def test_classes_are_dropped_and_thinned(data: Data, deal: Deal) -> None:
    classes = data.known.num_classes
    assert classes is not None
    for name, share in (("1 class dropped", 0.1), ("1/4 of classes dropped", 0.25), ("half of classes dropped", 0.5)):
        _, labels = corrupted(name, data, deal)
        assert len(labels.unique()) == classes - round(share * classes)
    counts = torch.bincount(corrupted("classes 4 : 1", data, deal)[1]).sort().values.double()
    few, many = counts.chunk(2)
    assert (many / few.mean()).tolist() == pytest.approx([4.0] * (classes // 2))


def test_few_samples_again_and_again(data: Data, deal: Deal) -> None:
    assert distinct(corrupted("each 10 times", data, deal)[0]) == data.n // 10
    assert distinct(corrupted("one sample", data, deal)[0]) == 1


def test_a_fifth_is_between_classes() -> None:
    data = Hairpin()
    deal = data.deal(torch.Generator().manual_seed(0))
    samples, _ = corrupted("20 % hybrids", data, deal)
    off = data.truth.assign(samples) < 0
    assert 0.8 < off[: data.n // 5].double().mean() <= 1  # some are halfway to another mode and on a third
    assert off[data.n // 5 :].double().mean() < 0.03


def test_labels_are_all_that_is_wrong() -> None:
    data = Digits()
    deal = data.deal(torch.Generator().manual_seed(0))
    samples, labels = corrupted("wrong labels", data, deal)
    right, asked = corrupted(NONE, data, deal)
    assert torch.equal(samples, right)
    assert (labels == asked).double().mean() < 0.2


def test_deviations_are_of_the_floor_and_positive_for_worse() -> None:
    scores = {0: 10.0, 1: 12.0, 2: 14.0}  # of std 2
    effects = Effects(
        {"good": {NONE: scores, "blur": {0: 6.0, 1: 10.0}}, "bad": {NONE: scores, "blur": {0: 16.0}}},
        {"good": True, "bad": False},
    )
    assert effects.floor("good") == (12.0, 2.0)
    assert effects.moved("good", "blur") == [2.0, 1.0]
    assert effects.moved("bad", "blur") == [3.0]
    assert effects.moved("bad", "noise") == effects.moved("other", "noise") == []
    assert math.isnan(effects.median("bad", "noise"))
    table = markdown(effects).splitlines()
    assert table[0] == "| | floor | blur |"
    assert table[2:] == ["| `good` | 12 ± 2 | 1.5 |", "| `bad` | 12 ± 2 | **3.0** |"]


def test_what_never_varies_moves_infinitely_far_or_not_at_all() -> None:
    effects = Effects({"modes": {NONE: {0: 8.0, 1: 8.0}, "blur": {0: 7.0, 1: 8.0}}}, {"modes": True})
    assert effects.moved("modes", "blur") == [math.inf, 0.0]
    assert "**> 99**" in markdown(effects)


@pytest.mark.slow
def test_every_metric_says_something_and_every_claim_is_about_a_value(tmp_path):
    findings = MetricSanity(seeds=1, floors=2).measure(Run(tmp_path))
    effects: dict[str, Effects] = findings.data
    silent = set.intersection(*(set(found.left_out) for found in effects.values()))
    assert silent - {"ClassConditionalFID"} == set()  # of classes that were dropped
    for row in findings.rows:
        assert row.values, f"{row.name}: there is no such value"


@pytest.fixture
def status(tmp_path, monkeypatch):
    """A function () -> exit status of the study on one metric, small."""
    monkeypatch.setattr(metric_sanity, "every_metric", lambda: ["FrechetDistance"])
    claims = {where: {"worse": "fid"} for where in (("digits", "half of classes dropped"), ("hairpin", "one sample"))}
    monkeypatch.setattr(metric_sanity, "CLAIMS", claims | {("hairpin", "narrowed"): {"not seen": "fid"}})
    return lambda: main(["metric_sanity", "--out", str(tmp_path), "--seeds=2", "--set=floors=6"])


def test_what_a_metric_sees(status, tmp_path):
    assert status() == 0
    assert (tmp_path / "metric_sanity" / "table.md").read_text().count("| `fid` |") == 2
    assert (tmp_path / "metric_sanity" / "figure.png").exists()


def test_a_metric_that_judges_the_wrong_way_round(status, monkeypatch):
    monkeypatch.setattr(FrechetDistance, "higher_is_better", True)
    assert status() == 1


def test_a_metric_that_sees_nothing(status, monkeypatch):
    monkeypatch.setattr(FrechetDistance, "compute", lambda self: torch.tensor(1.0))
    assert status() == 1
