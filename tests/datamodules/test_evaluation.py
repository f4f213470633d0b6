"""Evaluation batches."""

from __future__ import annotations

import pytest
import torch

from datamodules.evaluation import EvaluationLoader
from datamodules.source import InMemory


@pytest.mark.parametrize("n", [0, 1, 12, 13])
@pytest.mark.parametrize("world_size", [1, 2, 5])
def test_shards_partition_the_rows_in_order(n, world_size):
    samples = torch.arange(n).double().unsqueeze(1)
    source = InMemory(samples, samples[:, 0].long())
    for rank in range(world_size):
        loader = EvaluationLoader(source, batch_size=4, rank=rank, world_size=world_size)
        batches = list(loader)
        assert len(batches) == len(loader)
        assert all(torch.equal(real[:, 0].long(), labels) for real, labels in batches)
        assert [row for _, labels in batches for row in labels.tolist()] == list(range(rank, n, world_size))


def test_rows_are_transformed_batch_by_batch_and_again_on_every_pass():
    loader = EvaluationLoader(InMemory(torch.ones(5, 2)), batch_size=2, transform=lambda x: x * len(x))
    for _ in range(2):
        assert [real.unique().tolist() for real, _ in loader] == [[2], [2], [1]]
        assert all(labels is None for _, labels in loader)


def test_batch_size_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be positive and finite, got 0"):
        EvaluationLoader(InMemory(torch.ones(5, 2)), batch_size=0)


@pytest.mark.parametrize("world_size", [1, 2])
def test_some_rows_are_spread_over_the_source(world_size: int) -> None:
    source = InMemory(torch.arange(10.0)[:, None])
    loaders = [
        EvaluationLoader(source, batch_size=2, rank=rank, world_size=world_size, n=4) for rank in range(world_size)
    ]
    shares = [torch.cat([real for real, _ in loader]).flatten().tolist() for loader in loaders]
    # whatever order classes are in, each is there in proportion
    assert shares == [[0, 2, 5, 7][rank::world_size] for rank in range(world_size)]
    assert sum(len(real) for real, _ in EvaluationLoader(source, batch_size=4, n=99)) == 10
