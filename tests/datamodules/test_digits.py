"""The embedded digits."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from datamodules import DigitsDataModule


@pytest.fixture(scope="module")
def splits():
    module = DigitsDataModule(batch_size=1)
    return {split: module.load(split) for split in ("train", "val", "test")}


def test_sizes_and_pixels(splits):
    assert {split: len(images) for split, (images, _) in splits.items()} == {"train": 1197, "val": 300, "test": 300}
    for images, labels in splits.values():
        assert images.shape[1:] == (1, 8, 8)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert torch.equal(images * 16, (images * 16).round())
        assert (images.min(), images.max()) == (0, 1)


def test_splits_are_a_partition_and_keep_their_labels(splits):
    images = torch.cat([images for images, _ in splits.values()]).flatten(1) * 16
    labels = torch.cat([labels for _, labels in splits.values()])
    data = load_digits()
    ours = sorted((*image, label) for image, label in zip(images.tolist(), labels.tolist(), strict=True))
    theirs = sorted((*image, label) for image, label in zip(data.data.tolist(), data.target.tolist(), strict=True))
    assert ours == theirs


def test_splits_are_stratified(splits):
    shares = [torch.bincount(labels, minlength=10) / len(labels) for _, labels in splits.values()]
    assert all((share - shares[0]).abs().max() < 0.005 for share in shares)
