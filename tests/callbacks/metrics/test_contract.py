"""What holds for every metric that the package exports."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from metric_recipes import CASES, EXPORTED, Case, split_over
from torch import nn
from workers import GlooPool

ALL = torch.arange(200)


@pytest.fixture(params=EXPORTED)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def close(one: Any, other: Any) -> None:
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_values_are_float64_scalars(case: Case) -> None:
    value = case.value(case.filled())
    for scalar in value.values() if isinstance(value, dict) else [value]:
        assert scalar.shape == ()
        assert scalar.dtype == torch.float64
        assert torch.isfinite(scalar)


def test_batches_do_not_matter(case: Case) -> None:
    whole = case.value(case.filled())
    close(case.value(case.filled(), *ALL.split(7), ALL[:0]), whole)


def test_forward_gives_the_batch_and_accumulates(case: Case) -> None:
    metric = case.filled()
    for index in ALL.split([80, 120]):
        views = [view[index] for view in case.generated] + [index] * ("index" in getattr(metric, "sees", ()))
        close(metric(views[0], False, *views[1:]), case.value(case.filled(), index))
    close(metric.compute(), case.value(case.filled()))


def test_forward_without_a_value_accumulates_nevertheless(case: Case) -> None:
    if case.real is None:
        pytest.skip("takes no reals")
    metric = case.make()
    views = [*case.real, *[ALL] * ("index" in getattr(metric, "sees", ()))]
    with pytest.raises(ValueError, match="generated sample"):
        metric(views[0], True, *views[1:])
    close(case.value(metric), case.value(case.filled()))


def test_merged_metrics_hold_the_union(case: Case) -> None:
    metric, other = case.filled(), case.make()
    case.show(metric, False, ALL[:50])
    case.show(other, False, ALL[50:])
    other.merge_state(metric)
    close(other.compute(), case.value(case.filled()))


def test_reset_forgets_everything(case: Case) -> None:
    metric = case.filled()
    expected = case.value(metric)
    metric.reset()
    with pytest.raises(ValueError, match="update"), pytest.warns(UserWarning, match="before the ``update``"):
        metric.compute()
    if case.real is not None:
        case.show(metric, True)
    close(case.value(metric), expected)


def test_reset_keeps_cached_reals(case: Case) -> None:
    if case.real is None:
        pytest.skip("takes no reals")
    metric = case.filled(reset_real_features=False)
    case.value(metric, ALL[:90])
    metric.reset()
    close(case.value(metric), case.value(case.filled()))


def test_pickles_and_clones_go_on_alone(case: Case) -> None:
    metric = case.filled()
    case.show(metric, False, ALL[:100])
    for copy in (pickle.loads(pickle.dumps(metric)), metric.clone()):
        close(case.value(copy, ALL[100:]), case.value(case.filled()))
    close(metric.compute(), case.value(case.filled(), ALL[:100]))


def test_a_module_that_holds_it_casts_nothing_and_saves_nothing(case: Case) -> None:
    holder = nn.Module()
    holder.metric = case.filled()
    holder.to(torch.bfloat16).half().double()
    assert holder.state_dict() == {}
    close(case.value(holder.metric), case.value(case.filled()))


@pytest.mark.parametrize("shares", ["turns", "uneven", "empty"])
def test_two_processes_give_the_value_of_one(case: Case, shares: str, gloo: GlooPool) -> None:
    name = next(name for name, made in CASES.items() if made is case)
    for together, alone in gloo(split_over, name, shares):
        torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-12)


def test_what_training_wants_of_precision_does_not_reach_values(case: Case) -> None:
    expected = case.value(case.filled())
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert case.value(case.filled()) == expected
    finally:
        torch.set_float32_matmul_precision("highest")


def test_on_a_device_without_float64_states_stay_on_the_cpu(case: Case) -> None:
    metric = case.filled()
    metric._apply(lambda tensor: SimpleNamespace(device=torch.device("mps")))
    assert metric.device.type == "cpu"
    assert case.value(metric) == case.value(case.filled())


def test_the_global_random_state_is_left_alone(case: Case) -> None:
    before = torch.get_rng_state()
    metric = case.filled()
    case.value(metric)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_state_has_a_reduction_and_attributes_are_set(case: Case) -> None:
    metric = case.make()
    assert None not in metric._reductions.values()
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    assert metric.plot_lower_bound in (0, None)  # None: an unbiased estimate of what is not negative may be
    with pytest.raises(ValueError, match="reset_real_features='no'"):
        case.make(reset_real_features="no")


def test_values_are_drawn(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    metric = case.filled()
    case.value(metric)
    figure, _ = metric.plot()
    assert figure.axes
    pyplot.close("all")
