from __future__ import annotations

import math

import pytest
import torch
from metric_recipes import normal
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torchmetrics.image.inception import InceptionScore as Torchmetrics

from callbacks.metrics import InceptionScore
from callbacks.metrics.known import Known, NotApplicable


def score(*batches: Tensor) -> float:
    metric = InceptionScore()
    for probabilities in batches:
        metric.update(probabilities)
    return metric.compute().item()


def test_torch_fidelity_agrees_on_one_split() -> None:
    isc_features_to_metric = pytest.importorskip("torch_fidelity.metric_isc").isc_features_to_metric
    logits = 3 * normal(0, 500, 10)
    expected = isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert score(*logits.double().softmax(1).split(70)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore` will save")
def test_torchmetrics_agrees_on_one_split() -> None:
    logits = 3 * normal(0, 500, 10)
    theirs = Torchmetrics(feature=nn.Flatten(), splits=1)
    theirs.update(logits.reshape(500, 10, 1, 1))
    with torch.random.fork_rng(), pytest.warns(UserWarning, match="degrees of freedom"):  # the deviation of one split
        expected = theirs.compute()[0].item()
    assert score(logits.softmax(1)) == pytest.approx(expected, rel=1e-5)


def test_bounds() -> None:
    sure = one_hot(torch.arange(10).repeat(3)).float()
    assert score(sure) == pytest.approx(10)
    assert score(sure[:1].repeat(9, 1)) == pytest.approx(1)
    assert score(torch.full((50, 10), 0.1)) == pytest.approx(1)
    assert score(sure[[0, 0, 0, 1]]) == pytest.approx(math.exp(0.75 * math.log(4 / 3) + 0.25 * math.log(4)))


def test_rounded_probabilities_are_probabilities() -> None:
    p = (3 * normal(0, 300, 10)).softmax(1)
    assert score(p.bfloat16()) == pytest.approx(score(p), rel=0.01)


def test_reals_are_left_out() -> None:
    p = normal(0, 30, 4).softmax(1)
    metric = InceptionScore()
    metric.update(normal(1, 30, 4).softmax(1), real=True)
    metric.update(p)
    assert metric.compute().item() == score(p)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        (normal(0, 5, 3), "5 of 5 rows of probabilities are negative or do not sum to 1"),
        (torch.full((4, 3), 0.5), "do not sum to 1"),
        (torch.full((4, 3), math.nan), "4 of 4 rows .* not finite"),
        (torch.full((4, 2), 0.5), "2 classes, but this metric holds 3"),
    ],
    ids=["logits", "sums", "nan", "classes"],
)
def test_what_is_no_probability_is_refused(probabilities: Tensor, message: str) -> None:
    metric = InceptionScore()
    metric.update(torch.full((4, 3), 1 / 3))
    with pytest.raises(ValueError, match=message):
        metric.update(probabilities)


def test_it_needs_a_classifier_and_samples() -> None:
    with pytest.raises(NotApplicable, match="Classifier"):
        InceptionScore().setup(Known())
    InceptionScore().setup(Known(extractor_classes=10))
    metric = InceptionScore()
    metric.update(torch.full((4, 3), 1 / 3), real=True)
    with pytest.raises(ValueError, match=r"0 generated sample\(s\)"):
        metric.compute()
