"""Folders of images: how they are laid out, decoded and split, and what is wrong with some."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import ImageFolderDataModule


def paint(path, value=0, size=(6, 6), mode="RGB", **options):
    """An image of one grey, height x width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size, 3), value, np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def cut(path):
    """The file without its end."""
    path.write_bytes(path.read_bytes()[:-30])


def module(root, size=6, **kwargs):
    return ImageFolderDataModule(str(root), size=size, batch_size=4, **{"num_workers": 0, **kwargs})


def greys(batch):
    """The first pixel of each image."""
    return batch[0][:, 0, 0, 0].tolist()


@pytest.fixture
def flat(tmp_path):
    """20 images of greys 0 to 19 without classes."""
    for value in range(20):
        paint(tmp_path / f"{value:02d}.png", value)
    return tmp_path


def every(data):
    """Greys of all splits, in order."""
    return sorted(grey for split in ("train", "val") for grey in greys(data.load(split)))


def test_images_of_other_endings_are_left_out_and_counted(flat):
    for name in ("a.gif", "b.GIF", "c.heic"):
        (flat / name).write_bytes(b"")
    (flat / "list.txt").write_text("not an image")
    with pytest.warns(UserWarning, match=r"left out in .*: 2 \.gif, 1 \.heic; convert them") as warned:
        assert every(module(flat, val_size=4)) == list(range(20))
    assert len(warned) == 1


def test_what_is_left_out_of_classes_is_told_once_and_nothing_of_hidden_folders(tmp_path):
    for name in ("bird", "cat"):
        for index in range(6):
            paint(tmp_path / name / f"{index}.png", index)
        (tmp_path / name / "more.gif").write_bytes(b"")
    (tmp_path / "cat" / ".cache").mkdir()
    (tmp_path / "cat" / ".cache" / "old.gif").write_bytes(b"")
    with pytest.warns(UserWarning, match=r": 2 \.gif; convert them") as warned:
        module(tmp_path, val_size=2).load("train")
    assert len(warned) == 1


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("memory_limit", [4.0, 0.0], ids=["in memory", "by workers"])
def test_subfolders_are_classes_in_alphabetical_order(tmp_path, memory_limit, workers):
    for index in range(20):
        paint(tmp_path / "cat" / "young" / f"{index}.png", index)
        paint(tmp_path / "bird" / f"{index}.jpg", 100 + index)
        paint(tmp_path / ".cache" / f"{index}.png", 77)
    data = module(tmp_path, memory_limit=memory_limit, num_workers=workers, val_size=10)
    assert (data.shape, data.num_classes, data.class_names) == ((3, 6, 6), 2, ["bird", "cat"])
    seen = {}
    for split, size in ("train", 30), ("val", 10):
        batches = list(data.reals(split))
        assert sum(len(real) for real, _ in batches) == size
        for real, labels in batches:
            seen |= dict(zip((real[:, 0, 0, 0] * 255).round().int().tolist(), labels.tolist(), strict=True))
    assert seen == {**{100 + i: 0 for i in range(20)}, **{i: 1 for i in range(20)}}


def test_a_flat_folder_has_no_labels_and_its_validation_images_are_its_test_images(flat):
    data = module(flat, val_size=0.25)
    assert data.num_classes is None
    assert every(data) == [*range(20)]
    assert greys(data.load("test")) == greys(data.load("val"))
    assert len(data.load("val")[0]) == 5
    assert data.load("val")[1] is None


def test_folders_of_splits_are_kept_apart(tmp_path):
    for split, value in ("train", 0), ("val", 50), ("test", 100):
        for index in range(3):
            paint(tmp_path / split / "a" / f"{index}.png", value + index)
            paint(tmp_path / split / "b" / f"{index}.png", value + 10 + index)
    (tmp_path / "test" / "a").rename(tmp_path / "c")  # a class may be missing there
    data = module(tmp_path)
    assert greys(data.load("train")) == [0, 1, 2, 10, 11, 12]
    assert greys(data.load("val")) == [50, 51, 52, 60, 61, 62]
    assert greys(data.load("test")) == [110, 111, 112]
    assert data.load("test")[1].tolist() == [1, 1, 1]
    paint(tmp_path / "val" / "d" / "x.png")
    with pytest.raises(ValueError, match=r"val has classes that train lacks: \['d'\]; the classes are \['a', 'b'\]"):
        module(tmp_path).load("val")


def test_images_at_any_depth_without_labels(tmp_path):
    for index in range(10):
        paint(tmp_path / f"{index // 5}" / f"{index}.png", index)
    paint(tmp_path / "10.png", 10)
    data = module(tmp_path, labels=False, val_size=2)
    assert data.num_classes is None
    assert every(data) == [*range(11)]


def test_images_are_cropped_around_their_centre_and_resized(tmp_path):
    ramp = np.repeat(np.arange(40, dtype=np.uint8)[None, :, None] * 6, 12, 0).repeat(3, 2)  # 12 x 40, columns 0 to 39
    for name in "ab":
        Image.fromarray(ramp).save(tmp_path / f"{name}.png")
    image = module(tmp_path, size=6, val_size=1).load("train")[0][0]
    assert image.shape == (3, 6, 6)
    # the middle 12 columns, 14 to 25, in pairs; a resampling filter keeps a ramp, but at the edges
    assert image[0, 0, 1:5].tolist() == pytest.approx([6 * (14.5 + 2 * i) for i in range(1, 5)], abs=1)
    tall = module(tmp_path, size=[12, 4], val_size=1).load("train")[0][0]
    assert tall.tolist() == torch.from_numpy(ramp[:, 18:22]).permute(2, 0, 1).tolist()  # no pixel is resampled


def test_a_fine_pattern_becomes_its_mean_when_it_is_made_smaller(tmp_path):
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        Image.fromarray(board).save(tmp_path / f"{name}.png")
    image = module(tmp_path, size=8, val_size=1).load("train")[0]
    assert (image.double() - 127.5).abs().max() < 2  # without antialiasing, 0 or 255


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_grey_and_colour_whatever_the_file_holds(tmp_path, mode):
    for name in "ab":
        paint(tmp_path / f"{name}.png", 255, mode=mode)
    for channels in (1, 3):
        images = module(tmp_path, channels=channels, val_size=1).load("train")[0]
        assert images.shape == (1, channels, 6, 6)
        assert (images == 255).all()


def test_photographs_are_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it
    for name in "ab":
        paint(tmp_path / f"{name}.jpg", 9, size=(4, 8), exif=exif)
    assert module(tmp_path, size=None, val_size=1).load("train")[0].shape == (1, 3, 8, 4)


@pytest.mark.parametrize("memory_limit", [4.0, 0.0], ids=["in memory", "by workers"])
def test_without_a_size_images_keep_theirs_and_mixed_ones_are_listed(flat, memory_limit):
    data = module(flat, size=None, memory_limit=memory_limit, val_size=4)
    assert data.shape == (3, 6, 6)
    assert sum(len(real) for real, _ in data.reals("train")) == 16
    for value in range(2):
        paint(flat / f"wide{value}.png", size=(6, 9))
    with pytest.raises(
        ValueError, match=r"width 6x6; there are 20 of 6x6, 1 of 6x9, as .*wide\d\.png: .*--data.size 6"
    ):
        module(flat, size=None, memory_limit=memory_limit, val_size=1).load("train")
    for path in flat.glob("0*.png"):
        path.unlink()
    (flat / "train").mkdir()
    paint(flat / "train" / "a.png")
    paint(flat / "val" / "b.png", size=(3, 6))
    with pytest.raises(ValueError, match=r"width 6x6; there are 1 of 3x6, as .*val/b\.png"):
        module(flat, size=None, memory_limit=memory_limit).load("val")


@pytest.mark.parametrize("broken", ["empty", "cut off", "text"])
def test_a_broken_file_is_named(flat, broken):
    path = flat / "07.png"
    cut(path) if broken == "cut off" else path.write_bytes(b"" if broken == "empty" else b"no image")
    with pytest.raises(ValueError, match=r"07\.png can't be decoded \(.*\); .* on_corrupt='skip'"):
        module(flat).setup("fit")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_file_is_named_where_workers_read_it(flat, workers):
    cut(flat / "07.png")
    data = module(flat, memory_limit=0, num_workers=workers)
    data.setup("fit")  # reads none
    with pytest.raises(ValueError, match=r"07\.png can't be decoded"):
        list(data.reals("train")) + list(data.reals("val"))


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("memory_limit", [4.0, 0.0], ids=["in memory", "by workers"])
def test_broken_files_are_skipped_with_their_count_and_leave_the_others_in_their_split(flat, memory_limit, threads):
    whole = {split: greys(module(flat, val_size=4).load(split)) for split in ("train", "val")}
    for name in ("03.png", "07.png", "11.png"):
        cut(flat / name)
    data = module(flat, val_size=4, on_corrupt="skip", memory_limit=memory_limit, num_workers=threads)
    with pytest.warns(UserWarning, match=r"skipped \d of \d+ images, corrupt: .*\.png can't be decoded") as warned:
        data.setup("fit")
    for split, before in whole.items():
        found = [round(255 * x) for real, _ in data.reals(split) for x in real[:, 0, 0, 0].tolist()]
        assert found == [grey for grey in before if grey not in (3, 7, 11)]
    skipped = [re.search(r"skipped (\d)", str(warning.message)) for warning in warned]
    assert sum(int(match[1]) for match in skipped if match) == 3


def test_a_folder_of_broken_files_alone(flat):
    for path in flat.iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(ValueError, match="the train split has 0 samples"):
        module(flat, on_corrupt="skip").setup("fit")
    with pytest.raises(ValueError, match=r"none of the 20 images in .* can be decoded"):
        module(flat, size=None, on_corrupt="skip").setup("fit")


def test_pixels_of_more_than_eight_bits_are_refused(flat):
    Image.fromarray(np.full((6, 6), 40_000, np.uint16)).save(flat / "05.png")
    with pytest.raises(ValueError, match=r"05\.png: pixels of mode I.* have more than 8 bits"):
        module(flat).setup("fit")


def test_no_folder_no_images_no_images_of_a_class(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere: name one by root"):
        module(tmp_path / "nowhere").setup("fit")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match=r"no images in .*, no files that end in \.jpg, \.jpeg, \.png"):
        module(tmp_path).setup("fit")
    paint(tmp_path / "a" / "x.png")
    (tmp_path / "b").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in .*/b,"):
        module(tmp_path).setup("fit")


def test_images_beside_classes(tmp_path):
    paint(tmp_path / "a" / "x.png")
    paint(tmp_path / "y.png")
    with pytest.raises(ValueError, match=r"holds 1 images beside subfolders, such as a: .* labels=False"):
        module(tmp_path).setup("fit")


def test_a_class_of_one_image_can_be_on_one_side_only(tmp_path):
    for index in range(5):
        paint(tmp_path / "a" / f"{index}.png")
    paint(tmp_path / "b" / "x.png")
    with pytest.raises(ValueError, match=r"val_size 2 of 6 .* every class is on both sides: .*least populated class"):
        module(tmp_path, val_size=2).setup("fit")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "height must be positive"),
        ({"size": [4]}, r"size must be a side or \[height, width\], got \[4\]"),
        ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colour\), got 2"),
        ({"memory_limit": math.nan}, "memory_limit must be at least 0 GiB, got nan"),
        ({"on_corrupt": "ignore"}, "on_corrupt must be 'error' or 'skip', got 'ignore'"),
        ({"test_size": 1.5}, "test_size must be a number of images, .* got 1.5"),
    ],
)
def test_arguments_that_there_are_not(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        module(tmp_path, **options)


def test_a_run_by_workers_resumes_and_has_the_batches_of_one_in_memory(flat):
    def stream(**kwargs):
        data = module(flat, val_size=4, flip=True, crop=1, **kwargs)
        data.setup("fit")
        return data.train_dataloader()

    held, read = stream(), stream(memory_limit=0, num_workers=1)
    batches = list(read)
    for iteration, (real, _) in enumerate(batches):
        assert torch.equal(real, held.batch(iteration)[0])
    again = stream(memory_limit=0)
    again.load_state_dict({**again.state_dict(), "iteration": 2})
    assert torch.equal(next(iter(again))[0], batches[2][0])
