from __future__ import annotations

import pytest
import torch
from torch import Tensor

from callbacks.metrics import CopyRate, copy_rate


def rows(n: int, seed: int, d: int = 4) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def rate(metric: CopyRate, samples: Tensor) -> float:
    metric.reset()
    metric.update(samples)
    return float(metric.compute())


@pytest.fixture(scope="module")
def metric() -> CopyRate:
    return CopyRate(rows(500, 0), rows(4000, 1), quantile=0.05)


def test_fresh_samples_give_the_quantile(metric: CopyRate) -> None:
    assert rate(metric, rows(4000, 2)) == pytest.approx(0.05, abs=4 * (2 * 0.05 * 0.95 / 4000) ** 0.5)


def test_copies_are_counted(metric: CopyRate) -> None:
    copies, fresh = rows(500, 0)[:300], rows(300, 3)
    assert rate(metric, copies) == 1
    assert rate(metric, copies + 1e-4) == 1
    assert rate(metric, torch.cat([copies, fresh])) == pytest.approx((1 + rate(metric, fresh)) / 2)


def test_samples_off_the_data_are_no_copies(metric: CopyRate) -> None:
    assert rate(metric, rows(100, 0) + 10) == 0


def test_copies_count_where_the_data_repeat_themselves() -> None:
    training = rows(50, 0)
    assert rate(CopyRate(training, training[:20], quantile=0.1), training) == 1


@pytest.mark.parametrize("block", [1, 1 << 12, 1 << 24])
def test_distances_are_exact_whatever_the_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy_rate, "_BLOCK", block)
    training, samples = 100 + rows(300, 0), 100 + rows(200, 1)
    distances = CopyRate(training, samples).distances(torch.cat([samples, training[:3]]))
    expected = torch.cdist(samples.double(), training.double()).amin(1)
    torch.testing.assert_close(distances[:200].double(), expected, rtol=1e-5, atol=1e-5)
    assert not distances[200:].any()


def test_images_are_flattened() -> None:
    images = rows(30, 0).view(30, 1, 2, 2)
    metric = CopyRate(images, rows(20, 1).view(20, 1, 2, 2), quantile=0.1)
    assert rate(metric, images) == 1


def test_bad_inputs_are_refused(metric: CopyRate) -> None:
    with pytest.raises(ValueError, match="3 features, the training rows 4"):
        metric.update(rows(5, 0, d=3))
    with pytest.raises(ValueError, match="not finite"):
        metric.update(torch.full((2, 4), torch.nan))
    with pytest.raises(ValueError, match="give at least 100"):
        CopyRate(rows(50, 0), rows(99, 1))
    with pytest.raises(ValueError, match=r"quantile=1\.0"):
        CopyRate(rows(50, 0), rows(99, 1), quantile=1.0)
    with pytest.raises(ValueError, match="no rows"):
        CopyRate(rows(0, 0), rows(100, 1))
