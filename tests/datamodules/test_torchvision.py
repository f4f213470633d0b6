"""Data sets by class path: one of torchvision's that makes its images up, and some of a user's own."""

from __future__ import annotations

import pytest
import torch

from datamodules import TorchvisionDataModule

FAKE = "torchvision.datasets.FakeData"
ARGUMENTS = {"size": 40, "image_size": [3, 6, 6], "num_classes": 4}


def module(dataset=FAKE, train=None, **kwargs):
    return TorchvisionDataModule(
        dataset, train=ARGUMENTS if train is None else train, **{"size": 6, "num_classes": 4, "batch_size": 4, **kwargs}
    )


def items(**kwargs):
    """Images (N, 3, 6, 6) and labels (N,) as torchvision has them."""
    from torchvision.datasets import FakeData
    from torchvision.transforms.functional import pil_to_tensor

    pairs = list(map(FakeData(**{**ARGUMENTS, **kwargs}).__getitem__, range(40)))
    return torch.stack([pil_to_tensor(image) for image, _ in pairs]), torch.tensor([label for _, label in pairs])


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that makes the source of a module `mine` with data sets in it."""

    def write(text):
        (tmp_path / "mine.py").write_text(f"from PIL import Image\nfrom torch.utils.data import Dataset\n{text}")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)

    return write


@pytest.mark.parametrize("memory_limit", [4.0, 0.0], ids=["in memory", "by workers"])
def test_splits_by_arguments_are_the_items_of_the_data_set(memory_limit):
    data = module(test={**ARGUMENTS, "random_offset": 100}, val_size=0, memory_limit=memory_limit, num_workers=0)
    assert (data.shape, data.num_classes) == ((3, 6, 6), 4)
    for split, offset in ("train", 0), ("val", 100), ("test", 100):
        images, labels = items(random_offset=offset)
        real, found = (torch.cat(parts) for parts in zip(*data.reals(split), strict=True))
        assert torch.equal((real * 255).round().to(torch.uint8), images)
        assert torch.equal(found, labels)


def test_without_arguments_a_split_is_drawn_class_by_class():
    data = module(val_size=8, test_size=0.1)
    parts = {split: data.load(split) for split in ("train", "val", "test")}
    assert {split: len(images) for split, (images, _) in parts.items()} == {"train": 28, "val": 8, "test": 4}
    together = [torch.cat(part) for part in zip(*parts.values(), strict=True)]
    key = lambda pair: (pair[0].flatten().tolist(), pair[1].item())  # noqa: E731
    assert sorted(map(key, zip(*together, strict=True))) == sorted(map(key, zip(*items(), strict=True)))


def test_without_a_number_of_classes_labels_are_left_out():
    images, labels = module(num_classes=None).load("train")
    assert (len(images), labels) == (36, None)


def test_labels_come_from_the_attribute_of_the_data_set_where_it_has_one(own):
    own(
        "class Mine(Dataset):\n"
        "    labels, read = [i % 2 for i in range(10)], []\n"
        "    def __len__(self): return 10\n"
        "    def __getitem__(self, i):\n"
        "        self.read.append(i)\n"
        "        return Image.new('RGB', (6, 6), (i, 0, 0)), self.labels[i]\n"
    )
    data = module("mine.Mine", {}, num_classes=2, val_size=2)
    images, labels = data.load("train")
    assert [red % 2 for red in images[:, 0, 0, 0].tolist()] == labels.tolist()
    import mine

    assert len(mine.Mine.read) == 8  # nothing is decoded twice


def test_labels_are_those_that_a_target_transform_makes(own):
    own(
        "class Mine(Dataset):\n"
        "    targets = [i % 2 + 1 for i in range(10)]\n"
        "    def __init__(self, target_transform): self.target_transform = target_transform\n"
        "    def __len__(self): return 10\n"
        "    def __getitem__(self, i):\n"
        "        return Image.new('RGB', (6, 6), (i, 0, 0)), self.target_transform(self.targets[i])\n"
    )
    data = module("mine.Mine", {"target_transform": lambda label: label - 1}, num_classes=2, val_size=2)
    images, labels = data.load("train")
    assert [red % 2 for red in images[:, 0, 0, 0].tolist()] == labels.tolist()


def test_labels_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"train labels span \[0, 3\], expected \[0, 2\]; correct num_classes"):
        module(num_classes=3).setup("fit")


def test_missing_files_are_told_with_the_arguments_that_help(tmp_path):
    data = module("torchvision.datasets.SVHN", {"root": str(tmp_path), "split": "train"}, num_classes=10)
    with pytest.raises(FileNotFoundError, match=r"SVHN is not, .*--data\.train\.root.*--data\.train\.download true"):
        data.setup("fit")


def test_files_are_downloaded_before_setup_only_where_asked(own):
    own(
        "class Mine(Dataset):\n"
        "    asked = []\n"
        "    def __init__(self, name, download=False):\n"
        "        self.asked.append((name, download))\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, i): return Image.new('L', (6, 6), i)\n"
    )
    import mine

    module("mine.Mine", {"name": "a", "download": True}, test={"name": "b"}).prepare_data()
    assert mine.Mine.asked == [("a", True)]
    images, labels = module("mine.Mine", {"name": "a"}, num_classes=None, val_size=1, channels=1).load("train")
    assert (images.shape, labels) == ((3, 1, 6, 6), None)


@pytest.mark.parametrize(
    ("dataset", "train", "message"),
    [
        ("torchvision.datasets.NoSuchData", {}, "no data set 'torchvision.datasets.NoSuchData'"),
        ("NoPath", {}, "no data set 'NoPath'"),
        ("os.system", {"command": "true"}, "os.system is not a class of map-style data sets"),
        (FAKE, {"sides": 3}, r"FakeData does not take the arguments \{'sides': 3\} of train: .*sides"),
    ],
    ids=["name", "path", "function", "arguments"],
)
def test_no_such_data_set(dataset, train, message):
    with pytest.raises(ValueError, match=message):
        module(dataset, train).setup("fit")


def test_items_of_another_form_are_refused(own):
    own(
        "class Words(Dataset):\n"
        "    def __len__(self): return 2\n"
        "    def __getitem__(self, i): return 'a word', 'a label'\n"
    )
    with pytest.raises(ValueError, match=r"mine.Words: item 0 is <class 'str'>, not a PIL image"):
        module("mine.Words", {}, num_classes=None, val_size=1, num_workers=0).load("train")
    with pytest.raises(ValueError, match="item 0 has no label that is a number; pass num_classes=None"):
        module("mine.Words", {}).load("train")


def test_a_checkpoint_may_name_torchvisions_data_sets_and_no_others(tmp_path):
    import yaml

    from gan_modules.checkpoint_config import read_config

    for dataset, refused in (FAKE, False), ("torchvision.io.read_file", True), ("subprocess.Popen", True):
        config = {"data": {"class_path": "datamodules.TorchvisionDataModule", "init_args": {"dataset": dataset}}}
        torch.save({"state_dict": {}, "config": yaml.safe_dump(config)}, tmp_path / "c.ckpt")
        if refused:
            with pytest.raises(ValueError, match=dataset):
                read_config(tmp_path / "c.ckpt")
        else:
            assert read_config(tmp_path / "c.ckpt") == config
