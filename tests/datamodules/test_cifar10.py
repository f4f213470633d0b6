"""CIFAR-10 through torchvision's own reader, on files of the official format with a few images."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from datamodules import CIFAR10DataModule, CIFAR100DataModule
from datamodules.whitening import Rescale

BATCHES, SIZE = 5, 20  # images of a file
REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


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
    return [bytes(image.flatten().tolist()) for image in images]


def test_the_test_split_is_the_official_one_in_its_order(official):
    root, parts = official
    images, labels = module(root, val_size=20).load("test")
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    assert torch.equal(images, parts["test"][0])
    assert images.is_contiguous()
    assert torch.equal(labels, parts["test"][1])


def test_training_and_validation_are_a_stratified_partition_with_their_labels(official):
    root, parts = official
    train, val = (module(root, val_size=20).load(split) for split in ("train", "val"))
    found = sorted(zip(rows(torch.cat([train[0], val[0]])), torch.cat([train[1], val[1]]).tolist(), strict=True))
    images, labels = parts["train"]
    assert found == sorted(zip(rows(images), labels.tolist(), strict=True))
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
    assert torch.equal(whole.load("train")[0], parts["train"][0])
    for ours, test in zip(whole.load("val"), whole.load("test"), strict=True):
        assert torch.equal(ours, test)


def test_pixels_come_back_from_training_space_unchanged(official):
    root, parts = official
    data = module(root, val_size=20, whitening=Rescale())
    data.setup("fit")
    real, _ = data.train_dataloader().batch(0)
    assert -1 <= real.min() < -0.9
    assert 0.9 < real.max() <= 1
    pixels = (data.decode(real) * 255).round().to(torch.uint8)
    assert set(rows(pixels)) <= set(rows(parts["train"][0]))


def test_missing_files_are_told_with_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError) as failure:
        module(tmp_path / "empty").setup("fit")
    message = str(failure.value)
    assert str(tmp_path / "empty") in message
    assert "cifar-10-batches-py" in message
    assert "--data.root" in message
    assert "170 MB, with download=True (--data.download true)" in message


@pytest.mark.parametrize("download", [False, True])
def test_a_damaged_file_is_named(official, monkeypatch, download):
    root, _ = official
    monkeypatch.setattr(CIFAR10, "download", lambda self: None)  # as where there is no network
    (root / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"CIFAR10 in .* is damaged, can't be read: \S*/data_batch_3 .*170 MB.*kriz"):
        module(root, download=download).setup("fit")


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


def test_cifar100_has_its_fine_labels(official, monkeypatch):
    root, _ = official
    folder = root / "cifar-100-python"
    folder.mkdir()
    fine = {"data": np.zeros((200, 3072), np.uint8), "coarse_labels": [0] * 200, "fine_labels": [*range(100)] * 2}
    known = {}
    for name, content in [("train", fine), ("test", fine), ("meta", {"fine_label_names": ["x"] * 100})]:
        (folder / name).write_bytes(pickle.dumps(content))
        known[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, "train_list", [["train", known["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", known["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", {**CIFAR100.meta, "md5": known["meta"]})
    data = CIFAR100DataModule(batch_size=1, root=str(root), val_size=100)
    assert data.num_classes == 100
    assert sorted(data.load("val")[1].tolist()) == [*range(100)]


def sheets(name, number):
    """Real images (N, 32, 32, 3) of sheets of 25 x 40."""
    paths = [REAL / f"{name}_{i:02d}.webp" for i in range(number)]
    sheet = np.stack([np.array(Image.open(path).convert("RGB")) for path in paths])
    return sheet.reshape(number, 25, 32, 40, 32, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 32, 32, 3)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")
def test_real_photographs_in_the_official_format(tmp_path, monkeypatch):
    folder, labels, known = tmp_path / "cifar-10-batches-py", np.load(REAL / "labels.npz"), {}
    folder.mkdir()
    images, test = sheets("train", 1), sheets("test", 1)
    for name, pixels, targets in [("data_batch_1", images, labels["train"]), ("test_batch", test, labels["test1000"])]:
        flat = pixels.transpose(0, 3, 1, 2).reshape(-1, 3072)
        (folder / name).write_bytes(pickle.dumps({"data": flat, "labels": targets[: len(flat)].tolist()}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": labels["names"].tolist()}))
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        known[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", known["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", known["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": known["batches.meta"]})
    data = module(tmp_path, val_size=100, classes=[8, 0], flip=True)  # ships, aeroplanes
    data.setup("fit")
    train, val = data.load("train"), data.load("val")
    assert torch.bincount(val[1]).tolist() == [10, 10]  # its share of 100 images of ten classes, as nearly as it goes
    of_class = torch.as_tensor(images[labels["train"][:1000] == 8]).permute(0, 3, 1, 2)
    together = torch.cat([train[0][train[1] == 0], val[0][val[1] == 0]])
    assert sorted(rows(together)) == sorted(rows(of_class))
    real, _ = data.train_dataloader().batch(0)
    kept = rows((data.decode(real) * 255).round().to(torch.uint8))
    assert set(kept) <= set(rows(torch.cat([train[0], train[0].flip(3)])))


@pytest.mark.parametrize("val_size", [5, 95, 100])
def test_a_split_without_some_class_is_refused(official, val_size):
    with pytest.raises(
        ValueError, match=rf"val_size {val_size} of 100 training images can't be drawn so that every cl"
    ):
        module(official[0], val_size=val_size).load("train")


@pytest.mark.parametrize("val_size", [-1, 1.0, float("nan")])
def test_sizes_that_there_are_not(val_size):
    with pytest.raises(ValueError, match=f"val_size must be a number of images, .*got {val_size}"):
        CIFAR10DataModule(batch_size=1, val_size=val_size)
