"""Images in arrays, of a file or in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule

from datamodules import ArrayDataModule

N = 40
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 3, 6, 7), np.uint8)
LABELS = np.arange(N) % 4


def module(arrays=None, path=None, **kwargs):
    return ArrayDataModule(path, arrays=arrays, **{"batch_size": 4, "val_size": 8, **kwargs})


def pairs(*batches):
    """Images as bytes with their labels, in order of the bytes."""
    rows = [row for images, labels in batches for row in zip(images, labels, strict=True)]
    return sorted((bytes(image.flatten().tolist()), int(label)) for image, label in rows)


def loaded(data, *splits):
    return [data.load(split) for split in splits or ("train", "val")]


@pytest.fixture(params=["npz", "numpy", "torch"])
def made(request, tmp_path):
    """A function of arrays by name that makes the module, from a file and from memory."""

    def make(kwargs=None, **arrays):
        if request.param == "npz":
            np.savez(tmp_path / "images.npz", **arrays)
            return module(path=str(tmp_path / "images.npz"), **(kwargs or {}))
        kind = torch.as_tensor if request.param == "torch" else np.asarray
        return module({name: kind(array) for name, array in arrays.items()}, **(kwargs or {}))

    return make


def test_images_and_labels_are_split(made):
    data = made(images=IMAGES, labels=LABELS)
    assert (data.shape, data.num_classes) == ((3, 6, 7), 4)
    train, val = loaded(data)
    assert pairs(train, val) == pairs((IMAGES, LABELS))
    assert train[0].dtype == torch.uint8
    assert torch.bincount(val[1]).tolist() == [2] * 4
    assert torch.equal(data.load("test")[0], val[0])


def test_labels_that_skip_numbers_are_told_unless_meant(made):
    from_one = {"images": IMAGES, "labels": LABELS + 1}
    with pytest.raises(ValueError, match=r"go up to 4, but none is \[0\]: pass num_classes=5 .* or count from 0"):
        made(**from_one).load("train")
    assert made({"num_classes": 5}, **from_one).num_classes == 5
    assert set(made({"classes": [1, 3]}, **from_one).load("train")[1].tolist()) == {0, 1}


def test_splits_with_names_of_their_own(made):
    data = made(train_images=IMAGES[:20], train_labels=LABELS[:20], test_images=IMAGES[20:], test_labels=LABELS[20:])
    assert pairs(*loaded(data)) == pairs((IMAGES[:20], LABELS[:20]))
    assert pairs(*loaded(data, "test")) == pairs((IMAGES[20:], LABELS[20:]))


def test_names_that_are_given(made):
    keys = {"train": ["x_train", "y_train"], "test": ["x_test", "y_test"]}
    arrays = {"x_train": IMAGES[:20], "y_train": LABELS[:20, None], "x_test": IMAGES[20:], "y_test": LABELS[20:, None]}
    data = made({"keys": keys, "val_size": 0}, **arrays)
    assert pairs(*loaded(data, "train")) == pairs((IMAGES[:20], LABELS[:20]))
    assert pairs(*loaded(data, "val")) == pairs((IMAGES[20:], LABELS[20:]))
    for alone in (["x_train"], "x_train"):
        unlabelled = made({"keys": {"train": alone}}, **arrays)
        assert (unlabelled.num_classes, unlabelled.load("train")[1]) == (None, None)


@pytest.mark.parametrize(
    ("shape", "stored", "layout"),
    [
        ((1, 6, 7), "HW", None),
        ((1, 6, 7), "CHW", None),
        ((3, 6, 7), "HWC", None),
        ((4, 6, 7), "HWC", None),
        ((3, 7, 3), "CHW", "CHW"),
        ((3, 3, 7), "HWC", "HWC"),
        ((5, 6, 7), "HWC", "HWC"),
    ],
)
def test_layouts(made, shape, stored, layout):
    images = np.random.default_rng(0).integers(0, 256, (N, *shape), np.uint8)
    array = {"HW": images[:, 0], "CHW": images, "HWC": np.moveaxis(images, 1, -1)}[stored]
    data = made({"layout": layout}, images=array, labels=LABELS)
    assert data.shape == shape
    assert pairs(*loaded(data)) == pairs((images, LABELS))
    assert data.load("train")[0].is_contiguous()


@pytest.mark.parametrize(("shape", "words"), [((N, 3, 7, 3), "both its"), ((N, 6, 7, 5), "neither its")])
def test_a_layout_that_is_not_clear_is_asked_for(made, shape, words):
    with pytest.raises(ValueError, match=rf"images in .* has shape .*: {words} .* layout='CHW' or layout='HWC'"):
        made(images=np.zeros(shape, np.uint8)).setup("fit")


def test_floats_in_the_unit_interval(made):
    data = made(images=IMAGES / 255, labels=LABELS)
    train, val = loaded(data)
    assert train[0].dtype == torch.float32
    again = [((images * 255).round().to(torch.uint8), labels) for images, labels in (train, val)]
    assert pairs(*again) == pairs((IMAGES, LABELS))


def test_arrays_that_are_read_backwards_or_of_another_order_of_bytes():
    images = (IMAGES / 255)[:, :, :, ::-1].astype(">f4")
    data = module({"images": images, "labels": LABELS[::-1].astype(">i2")})
    again = [((x * 255).round().to(torch.uint8), labels) for x, labels in loaded(data)]
    assert pairs(*again) == pairs((IMAGES[:, :, :, ::-1].copy(), LABELS[::-1].copy()))


def test_a_file_of_images_alone(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    data = module(path=str(tmp_path / "images.npy"))
    assert data.num_classes is None
    assert len(data.load("train")[0]) == N - 8


def spoiled(index, value):
    images = IMAGES / 255
    images[index, 0, 0, 0] = value
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": spoiled(17, np.nan)}, "train samples hold 1 NaN or infinite values, the first in sample 17"),
        ({"images": IMAGES.astype(float)}, r"train samples span \[0, 255\], outside \(0.0, 1.0\)"),
        ({"images": IMAGES.astype(int)}, r"train samples are torch.int64; pass uint8 images"),
        ({"images": IMAGES, "labels": LABELS - 1}, r"train labels span \[-1, 2\]"),
        (
            {"images": IMAGES, "labels": LABELS[:9]},
            r"train labels are torch.int64 \(9,\), expected",
        ),
        ({"images": IMAGES, "labels": LABELS / 4}, r"labels in .* is torch.float64 \(40,\); labels are whole numbers"),
        ({"images": IMAGES[:, 0, 0]}, r"images in .* has shape \(40, 7\), images are"),
        (
            {"pictures": IMAGES},
            r"holds \['pictures'\], neither 'images' nor 'train_images'; say .* keys",
        ),
        ({"images": IMAGES[:0]}, r"train samples|the train split has 0 samples"),
    ],
    ids=["NaN", "0 to 255", "int64", "negative", "too few", "fractions", "vectors", "names", "none"],
)
def test_bad_arrays_are_told(made, arrays, message):
    with pytest.raises(ValueError, match=message):
        made(**arrays).setup("fit")


def test_labels_beyond_those_of_training(made):
    arrays = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS + 1}
    with pytest.raises(ValueError, match=r"test labels span \[1, 4\], expected \[0, 3\]"):
        made(**arrays).setup("test")
    made({"num_classes": 5}, **arrays).setup("test")


def test_names_that_are_not_there(made):
    data = made({"keys": {"train": ["images", "label"]}}, images=IMAGES, labels=LABELS)
    with pytest.raises(ValueError, match=r"holds \['images', 'labels'\], not \['label'\], the keys of train"):
        data.setup("fit")
    for names in ([], ["images", "labels", "more"]):
        with pytest.raises(ValueError, match=r"keys of train must name its images and, .* labels, got \["):
            made({"keys": {"train": names}}, images=IMAGES, labels=LABELS).setup("fit")


def test_classes_without_labels_are_told_from_a_misspelt_name(made):
    with pytest.raises(ValueError, match=r"num_classes is 4, but .* with \['images', 'label'\] has no labels"):
        made({"num_classes": 4}, images=IMAGES, label=LABELS).setup("fit")


def test_files_that_can_not_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere\.npz"):
        module(path=str(tmp_path / "nowhere.npz")).setup("fit")
    path = tmp_path / "images.npz"
    np.savez(path, images=IMAGES)
    whole = path.read_bytes()
    for content in (b"", b"no array", whole[:-200], whole[:500] + bytes(500) + whole[1000:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"images\.npz .*(readable|read)"):
            module(path=str(path)).setup("fit")
    np.savez(path, images=np.array([None, {}], object))
    with pytest.raises(ValueError, match=r"images in .*images\.npz can't be read .*Object arrays cannot be loaded"):
        module(path=str(path)).setup("fit")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass either the path .* or arrays"),
        ({"path": "a.npz", "arrays": {}}, "pass either the path .* or arrays"),
        ({"path": "a.npz", "keys": {"test": ["x"]}}, r"keys must name arrays of train.* got \{'test': \['x'\]\}"),
        ({"arrays": IMAGES}, r'arrays must be given by name, \{"images": ...\}, got ndarray'),
        ({"path": "a.npz", "layout": "WHC"}, "layout must be 'CHW' or 'HWC', got 'WHC'"),
    ],
)
def test_arguments_that_contradict(arguments, message):
    with pytest.raises(ValueError, match=message):
        ArrayDataModule(batch_size=1, **arguments)


def test_checkpoints_hold_no_arrays():
    data: LightningDataModule = module({"images": IMAGES}, flip=True)
    assert data.hparams["flip"] is True
    assert "arrays" not in data.hparams
