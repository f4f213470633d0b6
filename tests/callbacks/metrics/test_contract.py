"""What holds for every metric that the package exports."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics import Metric

import callbacks.metrics

GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(400, 5, generator=GENERATOR)
MODES = torch.randint(-1, 4, (400,), generator=GENERATOR)


@dataclass(frozen=True)
class Case:
    """A metric's constructor and data: reals (or none) and generated samples."""

    make: Callable[..., Metric]
    generated: Tensor
    real: Tensor | None = None
    side: dict[str, bool] = field(default_factory=dict)

    def filled(self, **kwargs: Any) -> Metric:
        metric = self.make(**kwargs)
        if self.real is not None:
            metric.update(self.real, real=True)
        return metric


CASES = {
    "FrechetDistance": Case(callbacks.metrics.FrechetDistance, 2 * ROWS[200:] + 1, ROWS[:200], {"real": False}),
    "ModeCoverage": Case(
        lambda **kwargs: callbacks.metrics.ModeCoverage(4, **kwargs), MODES[200:], MODES[:200], {"real": False}
    ),
    "CopyRate": Case(
        lambda **kwargs: callbacks.metrics.CopyRate(ROWS[:90], ROWS[90:200], quantile=0.2, **kwargs), ROWS[200:]
    ),
}
EXPORTED = {
    name
    for name in callbacks.metrics.__all__
    if isinstance(getattr(callbacks.metrics, name), type) and issubclass(getattr(callbacks.metrics, name), Metric)
}


@pytest.fixture(params=sorted(EXPORTED))
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    return CASES[request.param]


def value_of(case: Case, metric: Metric, *batches: Tensor) -> Any:
    for batch in batches:
        metric.update(batch, **case.side)
    return metric.compute()


def close(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_values_are_float64_scalars(case: Case) -> None:
    value = value_of(case, case.filled(), case.generated)
    for scalar in value.values() if isinstance(value, dict) else [value]:
        assert scalar.shape == ()
        assert scalar.dtype == torch.float64
        assert torch.isfinite(scalar)


def test_batches_do_not_matter(case: Case) -> None:
    whole = value_of(case, case.filled(), case.generated)
    close(value_of(case, case.filled(), *case.generated.split(7), case.generated[:0]), whole)


def test_forward_gives_the_batch_and_accumulates(case: Case) -> None:
    first, second = case.generated.split([30, 170])
    metric = case.filled()
    close(metric(first, **case.side), value_of(case, case.filled(), first))
    close(metric(second, **case.side), value_of(case, case.filled(), second))
    close(metric.compute(), value_of(case, case.filled(), case.generated))


def test_forward_without_a_value_accumulates_nevertheless(case: Case) -> None:
    if case.real is None:
        pytest.skip("takes no reals")
    metric = case.make()
    with pytest.raises(ValueError, match="generated sample"):
        metric(case.real, real=True)
    close(value_of(case, metric, case.generated), value_of(case, case.filled(), case.generated))


def test_merged_metrics_hold_the_union(case: Case) -> None:
    metric, other = case.filled(), case.make()
    metric.update(case.generated[:50], **case.side)
    other.update(case.generated[50:], **case.side)
    other.merge_state(metric)
    close(other.compute(), value_of(case, case.filled(), case.generated))


def test_reset_forgets_everything(case: Case) -> None:
    metric = case.filled()
    expected = value_of(case, metric, case.generated)
    metric.reset()
    with pytest.raises(ValueError, match="update"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()
    if case.real is not None:
        metric.update(case.real, real=True)
    close(value_of(case, metric, case.generated), expected)


def test_reset_keeps_cached_reals(case: Case) -> None:
    if case.real is None:
        pytest.skip("takes no reals")
    metric = case.filled(reset_real_features=False)
    value_of(case, metric, case.generated[:20])
    metric.reset()
    close(value_of(case, metric, case.generated), value_of(case, case.filled(), case.generated))


def test_pickles_and_clones_go_on_alone(case: Case) -> None:
    metric = case.filled()
    first, second = case.generated.split(100)
    metric.update(first, **case.side)
    for copy in (pickle.loads(pickle.dumps(metric)), metric.clone()):
        close(value_of(case, copy, second), value_of(case, case.filled(), case.generated))
    close(metric.compute(), value_of(case, case.filled(), first))


def test_a_module_that_holds_it_casts_nothing_and_saves_nothing(case: Case) -> None:
    holder = nn.Module()
    holder.metric = case.filled()
    holder.to(torch.bfloat16).half().double()
    assert holder.state_dict() == {}
    close(value_of(case, holder.metric, case.generated), value_of(case, case.filled(), case.generated))


def test_the_global_random_state_is_left_alone(case: Case) -> None:
    before = torch.get_rng_state()
    metric = case.filled()
    metric(case.generated, **case.side)
    metric.compute()
    assert torch.equal(torch.get_rng_state(), before)


def test_every_state_has_a_reduction_and_attributes_are_set(case: Case) -> None:
    metric = case.make()
    assert None not in metric._reductions.values()
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    assert metric.plot_lower_bound == 0
    with pytest.raises(ValueError, match="reset_real_features='no'"):
        case.make(reset_real_features="no")


def test_values_are_drawn(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    metric = case.filled()
    value_of(case, metric, case.generated)
    figure, _ = metric.plot()
    assert figure.axes
    pyplot.close("all")
