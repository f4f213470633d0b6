"""The order of training samples."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from datamodules.source import InMemory
from datamodules.stream import TrainingStream

N = 23


def stream(n=N, **kwargs):
    kwargs = {"batch_size": 4, **kwargs}
    return TrainingStream(InMemory(torch.arange(n).double().unsqueeze(1), torch.arange(n)), **kwargs)


def rows(stream, iterations):
    return [stream.batch(t)[1].tolist() for t in range(iterations)]


def test_every_pass_shows_every_row_once_and_in_another_order():
    order = torch.tensor(rows(stream(draws=2), N)).flatten()  # 8 rows an iteration: iterations straddle passes
    passes = order.reshape(-1, N)
    assert torch.equal(passes.sort(1).values, torch.arange(N).expand(len(passes), N))
    assert len(passes.unique(dim=0)) == len(passes)


def test_order_depends_on_the_seed_and_nothing_else():
    torch.manual_seed(1)
    first = rows(stream(seed=5), 20)
    torch.manual_seed(2)
    forward = stream(seed=5)
    backwards = [forward.batch(t)[1].tolist() for t in reversed(range(20))]
    assert backwards[::-1] == first
    assert rows(stream(seed=6), 20) != first


def test_order_is_the_same_however_it_is_cut_into_draws():
    cuts = [(1, 1), (4, 1), (4, 3), (12, 2)]
    orders = [torch.tensor(rows(stream(batch_size=b, draws=k), 24 // (b * k))).flatten() for b, k in cuts]
    assert all(torch.equal(order, orders[0]) for order in orders)


def test_samples_and_labels_stay_together_and_are_transformed():
    real, labels = stream(transform=lambda x: -x).batch(3)
    assert torch.equal(-real.flatten(), labels.double())


def test_a_process_gets_its_contiguous_share_of_each_draw():
    whole = stream(batch_size=6, draws=2).batch(1)[1].tolist()
    share = stream(batch_size=6, draws=2, rank=1, world_size=3).batch(1)[1].tolist()
    assert share == whole[2:4] + whole[8:10]


def test_batches_larger_than_the_data_straddle_several_passes():
    batch = torch.tensor(rows(stream(n=3, batch_size=10), 3)).flatten()
    assert torch.equal(batch.reshape(-1, 3).sort(1).values, torch.arange(3).expand(10, 3))


def test_labels_are_optional():
    real, labels = next(iter(TrainingStream(InMemory(torch.zeros(5, 2)), batch_size=2)))
    assert real.shape == (2, 2)
    assert labels is None


@pytest.mark.parametrize(("batch_size", "draws", "epoch"), [(4, 1, 6), (4, 2, 3), (23, 1, 1), (50, 1, 1), (1, 1, 23)])
def test_an_epoch_is_about_one_pass(batch_size, draws, epoch):
    assert len(stream(batch_size=batch_size, draws=draws)) == epoch


def test_epochs_follow_on_one_another():
    source = stream(epoch_iterations=5)
    epochs = [[labels.tolist() for _, labels in source] for _ in range(3)]
    assert [len(epoch) for epoch in epochs] == [5, 5, 5]
    assert [batch for epoch in epochs for batch in epoch] == rows(stream(), 15)


@pytest.mark.parametrize("taken", [0, 1, 4, 5, 7])
def test_state_continues_after_the_last_batch_handed_out(taken):
    source = stream(epoch_iterations=100)
    batches = iter(source)  # stays open: the state is saved while a batch is in use
    list(islice(batches, taken))
    resumed = stream(epoch_iterations=100)
    list(islice(resumed, 3))
    resumed.load_state_dict(source.state_dict())
    assert [labels.tolist() for _, labels in islice(resumed, 6)] == rows(stream(), taken + 6)[taken:]


def test_looking_at_a_batch_does_not_move_the_stream():
    source = stream()
    source.batch(17)
    assert source.state_dict()["iteration"] == 0
    assert next(iter(source))[1].tolist() == rows(stream(), 1)[0]


def test_state_holds_for_any_number_of_processes():
    source = stream(world_size=2)
    list(islice(source, 3))
    stream(world_size=4, rank=3).load_state_dict(source.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iteration": -1}, "iteration must be >= 0, the state holds -1"),
        ({"iteration": 1.5}, "not the state of a training stream"),
        ({"extra": 0}, "not the state of a training stream"),
        ({"size": 22}, "size 22, this run has 23"),
        ({"seed": 9}, "seed 9, this run has 0"),
        ({"rows_per_iteration": 8}, "rows_per_iteration 8, this run has 4"),
    ],
)
def test_a_wrong_state_is_refused_and_changes_nothing(change, message):
    source = stream()
    with pytest.raises(ValueError, match=message):
        source.load_state_dict({**source.state_dict(), **change})
    with pytest.raises(ValueError, match="not the state of a training stream"):
        source.load_state_dict({"iteration": 3})
    assert source.iteration == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"batch_size": 6, "world_size": 4}, "batch_size 6 .* not divisible by world_size 4; use 4 "),
        ({"batch_size": 2, "world_size": 4}, "batch_size 2 .* not divisible by world_size 4; use 4 "),
        ({"batch_size": 0}, "batch_size must be positive"),
        ({"draws": 0}, "draws must be positive"),
        ({"epoch_iterations": 0}, "epoch_iterations must be positive"),
        ({"n": 0}, "samples must be positive"),
    ],
)
def test_impossible_sizes_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        stream(**kwargs)
