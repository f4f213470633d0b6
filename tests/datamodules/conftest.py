"""A data set whose samples are their own row numbers, and stand-ins for what a trainer tells a data module."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from datamodules import GANDataModule


class Counting(GANDataModule):
    """Sample i of a split is the number i; 23 for training, so that batches straddle passes."""

    shape = (1,)
    num_classes = None
    sizes = {"train": 23, "val": 7, "test": 5}  # noqa: RUF012

    def load(self, split):
        return torch.arange(self.sizes[split], dtype=torch.float32).unsqueeze(1), None


class Numbers(Dataset):
    """Item i is the number i."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, row):
        return torch.tensor([float(row)])


class FromWorkers(Counting):
    """The same samples, read one by one in worker processes."""

    def load(self, split):
        return Numbers(self.sizes[split])


@pytest.fixture
def counting():
    """The first class above."""
    return Counting


@pytest.fixture
def counting_from_workers():
    """The second."""
    return FromWorkers


@pytest.fixture
def process():
    """A function (rank, world_size, draws) -> an object with what a data module reads off its trainer."""

    def build(rank=0, world_size=1, draws=1):
        module = SimpleNamespace(draws=draws)
        return SimpleNamespace(global_rank=rank, world_size=world_size, lightning_module=module)

    return build
