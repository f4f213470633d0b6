"""What image data sets share, on a hundred images of four classes that are their own row numbers."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import Dataset

from datamodules import ImageDataModule

N, CLASSES = 100, 4


class Numbered(ImageDataModule):
    """Image i of a part has the constant value i, test images 200 + i; its class is i modulo 4."""

    shape = (1, 2, 3)
    all_classes = CLASSES

    def read(self, part):
        size, start = (N, 0) if part == "train" else (12, 200)
        values = torch.arange(start, start + size, dtype=torch.uint8)
        labels = None if self.all_classes is None else torch.arange(size) % CLASSES
        return values[:, None, None, None].expand(-1, *self.shape), labels


def numbers(batch):
    return batch[0][:, 0, 0, 0].tolist()


def splits(**kwargs):
    module = Numbered(batch_size=1, **kwargs)
    return {split: module.load(split) for split in ("train", "val", "test")}


def test_validation_images_are_taken_from_training_images_class_by_class():
    drawn = splits(val_size=20)
    assert sorted(numbers(drawn["train"]) + numbers(drawn["val"])) == [*range(N)]
    assert torch.bincount(drawn["val"][1]).tolist() == [5] * CLASSES
    assert numbers(drawn["test"]) == [*range(200, 212)]
    for batch in drawn.values():
        assert [number % CLASSES for number in numbers(batch)] == batch[1].tolist()


def test_a_share_is_a_number_of_images():
    assert numbers(splits(val_size=0.25)["val"]) == numbers(splits(val_size=25)["val"])


def test_the_split_depends_on_the_data_seed_alone():
    first = numbers(splits(val_size=20, seed=1)["val"])
    assert first == numbers(splits(val_size=20, seed=2)["val"])
    assert first != numbers(splits(val_size=20, data_seed=1)["val"])


def test_without_validation_images_the_test_images_validate_and_the_reverse(monkeypatch):
    drawn = splits(val_size=0)
    assert numbers(drawn["train"]) == [*range(N)]
    assert numbers(drawn["val"]) == numbers(drawn["test"]) == [*range(200, 212)]
    monkeypatch.setattr(Numbered, "parts", ("train",))
    drawn = splits(val_size=20)
    assert numbers(drawn["test"]) == numbers(drawn["val"])
    with pytest.raises(ValueError, match="val_size and test_size are both 0: there is nothing to evaluate on"):
        splits(val_size=0)


def test_a_test_split_is_drawn_where_there_is_none(monkeypatch):
    monkeypatch.setattr(Numbered, "parts", ("train",))
    monkeypatch.setattr(Numbered, "test_size", 0.2)
    drawn = splits(val_size=8)
    assert {split: len(batch[1]) for split, batch in drawn.items()} == {"train": 72, "val": 8, "test": 20}
    assert sorted(number for batch in drawn.values() for number in numbers(batch)) == [*range(N)]


def test_parts_of_their_own_are_left_whole(monkeypatch):
    monkeypatch.setattr(Numbered, "parts", ("train", "val", "test"))
    drawn = splits(val_size=20)
    assert numbers(drawn["train"]) == [*range(N)]
    assert numbers(drawn["val"]) == [*range(200, 212)]


def test_chosen_classes_are_renumbered_in_their_order_and_stay_in_their_split():
    whole, chosen = splits(val_size=20), splits(val_size=20, classes=[3, 1])
    assert Numbered(batch_size=1, classes=[3, 1]).num_classes == 2
    for split, batch in chosen.items():
        assert [{0: 3, 1: 1}[label] for label in batch[1].tolist()] == [n % CLASSES for n in numbers(batch)]
        assert set(numbers(batch)) == {number for number in numbers(whole[split]) if number % CLASSES in (3, 1)}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "classes must name at least one class"),
        ([2, 2], r"none twice, got \[2, 2\]"),
        ([1, 4], r"classes must lie in \[0, 3\], got \[1, 4\]"),
        ([-1], r"classes must lie in \[0, 3\], got \[-1\]"),
    ],
)
def test_classes_that_there_are_not(classes, message):
    with pytest.raises(ValueError, match=message):
        Numbered(batch_size=1, classes=classes).load("train")


def test_images_without_labels(monkeypatch):
    monkeypatch.setattr(Numbered, "all_classes", None)
    drawn = splits(val_size=20)
    assert sorted(numbers(drawn["train"]) + numbers(drawn["val"])) == [*range(N)]
    assert drawn["train"][1] is None
    with pytest.raises(ValueError, match="can't be chosen: the images have no labels"):
        splits(classes=[0])


def test_labels_out_of_range_are_refused_before_they_are_renumbered(monkeypatch):
    monkeypatch.setattr(Numbered, "all_classes", 3)
    with pytest.raises(ValueError, match=r"train labels span \[0, 3\], expected \[0, 2\]"):
        Numbered(batch_size=1, classes=[0]).load("train")


class Gradient(Numbered):
    """Images that differ from their mirror images and when they are moved."""

    shape = (1, 5, 5)

    def read(self, part):
        return torch.arange(25, dtype=torch.uint8).reshape(1, *self.shape).repeat(N, 1, 1, 1), torch.arange(N) % 4


def test_flips_and_crops_change_training_images_alone_and_differ_each_time():
    plain = torch.arange(25.0).reshape(1, 5, 5) / 255
    for options, number in ({"flip": True}, 2), ({"crop": 1}, 9), ({"flip": True, "crop": 1}, 18):
        module = Gradient(batch_size=200, **options)
        module.setup("fit")
        seen = {tuple(image.flatten().tolist()) for image in module.train_dataloader().batch(0)[0]}
        assert len(seen) == number
        assert tuple(plain.flatten().tolist()) in seen
        assert all(torch.equal(image, plain) for real, _ in module.reals("train") for image in real)
        assert not torch.equal(module.train_dataloader().batch(0)[0], module.train_dataloader().batch(1)[0])


def test_a_crop_that_images_have_no_room_for():
    module = Gradient(batch_size=2, crop=5)
    module.setup("fit")
    with pytest.raises(ValueError, match="padding 5 needs sides above it, images are 5x5"):
        module.train_dataloader().batch(0)
    with pytest.raises(ValueError, match="padding must be positive and finite, got -1"):
        Gradient(batch_size=2, crop=-1)


def test_a_data_set_that_this_class_does_not_decode(monkeypatch):
    monkeypatch.setattr(Numbered, "read", lambda self, part: (Rows(), torch.zeros(3, dtype=torch.int64)))
    with pytest.raises(TypeError, match="a data set of tensors wants a tensor"):
        Numbered(batch_size=1).load("train")


class Rows(Dataset):
    def __len__(self):
        return 3
