"""CIFAR-10 through torchvision's own reader, on files of the official format with a few images."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from datamodules import CIFAR10DataModule
from datamodules.whitening import Rescale

BATCHES, SIZE = 5, 20  # images of a file


@pytest.fixture
def official(tmp_path, monkeypatch):
    """Folder of the data set, its images (N, 3, 32, 32) and labels (N,); by torchvision's part, train or test."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    random = np.random.default_rng(0)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name):
        data = random.integers(0, 256, (SIZE, 3072), np.uint8)
        labels = [i % 10 for i in range(SIZE)]
        parts.setdefault(name[:4], []).append((data, labels))
        return [name, write(name, {"data": data, "labels": labels})]

    parts = {}
    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i + 1}") for i in range(BATCHES)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": write("batches.meta", {"label_names": ["x"] * 10})})
    images, labels = zip(
        *(map(np.concatenate, zip(*parts[part], strict=True)) for part in ("data", "test")), strict=True
    )
    tensors = [torch.as_tensor(np.reshape(x, (-1, 3, 32, 32))) for x in images]
    return tmp_path, dict(zip(("train", "test"), zip(tensors, map(torch.as_tensor, labels), strict=True), strict=True))


def module(root, **kwargs):
    return CIFAR10DataModule(batch_size=4, root=str(root), **kwargs)


def rows(images):
    """Each image as bytes."""
    return [bytes((image * 255).round().to(torch.uint8).flatten().tolist()) for image in images]


def test_the_test_split_is_the_official_one_in_its_order(official):
    root, parts = official
    images, labels = module(root, val_size=20).load("test")
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.equal(images, parts["test"][0].float() / 255)
    assert images.is_contiguous()
    assert torch.equal(labels, parts["test"][1])


def test_training_and_validation_are_a_stratified_partition_with_their_labels(official):
    root, parts = official
    train, val = (module(root, val_size=20).load(split) for split in ("train", "val"))
    found = sorted(zip(rows(torch.cat([train[0], val[0]])), torch.cat([train[1], val[1]]).tolist(), strict=True))
    images, labels = parts["train"]
    assert found == sorted(zip(rows(images / 255), labels.tolist(), strict=True))
    assert torch.bincount(val[1]).tolist() == [2] * 10
    assert torch.bincount(train[1]).tolist() == [8] * 10


def test_the_split_depends_on_the_data_seed_alone(official):
    root, _ = official
    images = module(root, val_size=20, seed=1).load("val")[0]
    assert torch.equal(images, module(root, val_size=20, seed=2).load("val")[0])
    assert not torch.equal(images, module(root, val_size=20, data_seed=1).load("val")[0])


def test_without_validation_images_all_are_trained_on_and_the_test_images_validate(official):
    root, parts = official
    whole = module(root, val_size=0)
    assert torch.equal(whole.load("train")[0], parts["train"][0].float() / 255)
    for ours, test in zip(whole.load("val"), whole.load("test"), strict=True):
        assert torch.equal(ours, test)


def test_mirror_images_are_trained_on_and_nowhere_else(official):
    root, _ = official
    plain, mirrored = module(root, val_size=20), module(root, val_size=20, mirror=True)
    images, labels = plain.load("train")
    twice, both = mirrored.load("train")
    assert torch.equal(twice, torch.cat([images, images.flip(3)]))  # left and right, the last dimension
    assert torch.equal(both, torch.cat([labels, labels]))
    for split in ("val", "test"):
        assert torch.equal(mirrored.load(split)[0], plain.load(split)[0])


def test_pixels_come_back_from_training_space_unchanged(official):
    root, parts = official
    data = module(root, val_size=20, whitening=Rescale())
    data.setup("fit")
    real, _ = data.train_dataloader().batch(0)
    assert -1 <= real.min() < -0.9
    assert 0.9 < real.max() <= 1
    assert set(rows(data.decode(real))) <= set(rows(parts["train"][0] / 255))


def test_missing_files_are_told_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as failure:
        module(tmp_path / "empty").setup("fit")
    message = str(failure.value)
    assert str(tmp_path / "empty") in message
    assert "cifar-10-batches-py" in message
    assert "--data.download true" in message


def test_damaged_files_are_told(official):
    root, _ = official
    (root / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"half")
    with pytest.raises(FileNotFoundError, match="not whole"):
        module(root).setup("fit")


def test_data_are_downloaded_before_setup_only_where_asked(official, monkeypatch):
    root, _ = official
    asked = []
    monkeypatch.setattr(CIFAR10, "download", lambda self: asked.append(self.root))
    module(root).prepare_data()
    assert asked == []
    module(root, download=True).prepare_data()
    assert asked == [str(root)]


def test_a_failed_download_is_not_told_as_missing_files(tmp_path, monkeypatch):
    monkeypatch.setattr(CIFAR10, "download", lambda self: None)
    with pytest.raises(RuntimeError, match="not found or corrupted"):
        module(tmp_path, download=True).prepare_data()


@pytest.mark.parametrize("val_size", [-1, 5, 49_995, 50_000])
def test_a_split_without_some_class_is_refused(val_size):
    with pytest.raises(ValueError, match=rf"val_size must be 0 .*got {val_size}"):
        CIFAR10DataModule(batch_size=1, val_size=val_size)
