"""MNIST and its relatives through torchvision's own reader, on files of the official format."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import MNIST

from datamodules import FashionMNISTDataModule, KMNISTDataModule, MNISTDataModule, StackedMNISTDataModule

REAL = Path(__file__).parents[3] / "shared" / "data" / "mnist"
SIZES = {"train": 60, "t10k": 30}


def idx(array):
    """An array of uint8 as LeCun's files hold it."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write(folder):
    """Random images and labels of both parts."""
    folder.mkdir(parents=True)
    random, made = np.random.default_rng(0), {}
    for part, size in SIZES.items():
        images, labels = random.integers(0, 256, (size, 28, 28), np.uint8), np.arange(size, dtype=np.uint8) % 10
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
        made[part] = torch.from_numpy(images), torch.from_numpy(labels).long()
    return made


@pytest.mark.parametrize("cls", [MNISTDataModule, FashionMNISTDataModule, KMNISTDataModule], ids=lambda c: c.__name__)
def test_files_are_found_below_the_root(cls, tmp_path):
    made = write(tmp_path / cls.__name__.removesuffix("DataModule") / "raw")
    data = cls(batch_size=1, root=str(tmp_path), val_size=20)
    assert torch.equal(data.load("test")[0][:, 0], made["t10k"][0])
    assert torch.equal(data.load("test")[1], made["t10k"][1])
    train, val = data.load("train"), data.load("val")
    assert (len(train[0]), len(val[0]), train[0].dtype) == (40, 20, torch.uint8)
    assert torch.bincount(val[1]).tolist() == [2] * 10


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (MNISTDataModule, ["MNIST/raw", "ossci-datasets.s3.amazonaws.com/mnist", "12 MB"]),
        (FashionMNISTDataModule, ["FashionMNIST/raw", "fashion-mnist.s3-website", "31 MB"]),
        (KMNISTDataModule, ["KMNIST/raw", "codh.rois.ac.jp/kmnist", "21 MB"]),
        (StackedMNISTDataModule, ["MNIST/raw", "12 MB"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_missing_files_are_told_with_what_to_put_where(cls, words, tmp_path):
    with pytest.raises(FileNotFoundError) as failure:
        cls(batch_size=1, root=str(tmp_path)).setup("fit")
    names = ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", str(tmp_path), "--data.root", "--data.download"]
    assert all(word in str(failure.value) for word in words + names), failure.value


@pytest.mark.parametrize("download", [False, True])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"])
@pytest.mark.parametrize("content", [b"", b"half", None], ids=["empty", "of another format", "cut off"])
def test_a_damaged_file_is_named(name, content, download, tmp_path):
    write(tmp_path / "MNIST" / "raw")
    path = tmp_path / "MNIST" / "raw" / name
    path.write_bytes(path.read_bytes()[:-7] if content is None else content)
    with pytest.raises(ValueError, match=f"MNIST in .* is damaged, can't be read: .*{name} "):
        MNISTDataModule(batch_size=1, root=str(tmp_path), download=download, val_size=0).load("train")


def test_archives_in_place_are_unpacked_without_a_network(tmp_path, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    write(folder)
    resources = []
    for path in sorted(folder.iterdir()):
        packed = gzip.compress(path.read_bytes())
        (folder / f"{path.name}.gz").write_bytes(packed)
        resources.append((f"{path.name}.gz", hashlib.md5(packed).hexdigest()))
        path.unlink()
    monkeypatch.setattr(MNIST, "resources", resources)
    data = MNISTDataModule(batch_size=1, root=str(tmp_path), download=True, val_size=0)
    data.prepare_data()
    assert len(data.load("train")[0]) == SIZES["train"]


def stacked(root, **kwargs):
    sizes = {"train_size": 2_000, "val_size": 300, "test_size": 400}
    return StackedMNISTDataModule(batch_size=1, root=str(root), **{**sizes, **kwargs})


def test_stacked_digits_are_three_images_and_their_number(tmp_path):
    made = write(tmp_path / "MNIST" / "raw")
    data = stacked(tmp_path)
    assert (data.shape, data.num_classes) == ((3, 28, 28), 1_000)
    for split, part, size in ("train", "train", 2_000), ("val", "t10k", 300), ("test", "t10k", 400):
        images, labels = data.load(split)
        assert (images.shape, images.dtype, images.is_contiguous()) == ((size, 3, 28, 28), torch.uint8, True)
        # all images are distinct: each channel is found, and its label is the digit of the number
        digit = {bytes(image.flatten().tolist()): int(label) for image, label in zip(*made[part], strict=True)}
        found = [[digit[bytes(channel.flatten().tolist())] for channel in image] for image in images]
        assert [100 * a + 10 * b + c for a, b, c in found] == labels.tolist()
    assert len(labels.unique()) > 300  # digits of one image are independent


def test_triples_depend_on_the_data_seed_alone(tmp_path):
    write(tmp_path / "MNIST" / "raw")
    images = stacked(tmp_path, seed=1).load("val")[0]
    assert torch.equal(images, stacked(tmp_path, seed=2).load("val")[0])
    assert not torch.equal(images, stacked(tmp_path, data_seed=1).load("val")[0])
    assert not torch.equal(images, stacked(tmp_path).load("test")[0][:300])
    with pytest.raises(ValueError, match="train_size must be positive and finite, got 0"):
        stacked(tmp_path, train_size=0)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A root with the real files, unpacked."""
    root = tmp_path_factory.mktemp("real")
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for path in REAL.glob("*.gz"):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return root


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")
def test_real_digits(real):
    data = MNISTDataModule(batch_size=1, root=str(real), classes=[3, 5])
    parts = {split: data.load(split) for split in ("train", "val", "test")}
    # counts of threes and fives: 6,131 and 5,421 to train on, 1,010 and 892 to test
    assert torch.bincount(parts["test"][1]).tolist() == [1_010, 892]
    assert torch.bincount(torch.cat([parts["train"][1], parts["val"][1]])).tolist() == [6_131, 5_421]
    assert len(parts["val"][1]) == pytest.approx(5_000 * (6_131 + 5_421) / 60_000, abs=2)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")
def test_real_triples_have_all_thousand_modes(real):
    data = StackedMNISTDataModule(batch_size=1, root=str(real))
    images, labels = data.load("test")
    assert images.shape == (26_000, 3, 28, 28)
    assert len(labels.unique()) == 1_000
