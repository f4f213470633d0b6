"""Rows from memory and rows from worker processes are the same rows."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils.data import Dataset

from datamodules.checks import Promise
from datamodules.source import FromWorkers, InMemory, in_data_space

N, SHAPE = 10, (1, 2, 3)
IMAGES = torch.arange(N * 6, dtype=torch.uint8).reshape(N, *SHAPE)
LABELS = torch.arange(N) % 3
PROMISE = Promise(SHAPE, 3, (0.0, 1.0))
ROWS = [torch.tensor([7, 0, 3]), torch.tensor([1]), torch.tensor([9, 9, 2, 4])]


class Rows(Dataset):
    """Image and label of every row; `change` spoils some of them."""

    def __init__(self, labelled=True, change=None):
        self.labelled, self.change = labelled, change or {}

    def __len__(self):
        return N

    def __getitem__(self, row):
        image, label = self.change.get(row, (IMAGES[row], LABELS[row].item()))
        return (image, label) if self.labelled else image


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_hand_out_what_memory_does_in_the_order_asked_for(workers):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    memory = list(InMemory(IMAGES, LABELS).read(ROWS))
    decoded = list(FromWorkers(Rows(), PROMISE, workers).read(iter(ROWS)))
    for rows, (real, labels), (again, again_labels) in zip(ROWS, memory, decoded, strict=True):
        assert torch.equal(real, IMAGES[rows])
        assert torch.equal(labels, LABELS[rows])
        assert torch.equal(real, again)
        assert torch.equal(labels, again_labels)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_without_labels():
    (real, labels), *_ = FromWorkers(Rows(labelled=False), Promise(SHAPE, None, (0.0, 1.0))).read(ROWS)
    assert torch.equal(in_data_space(real), IMAGES[ROWS[0]].float() / 255)
    assert labels is None
    assert next(InMemory(IMAGES).read(ROWS))[1] is None


def test_images_stay_in_uint8_and_floats_as_they_are():
    assert InMemory(IMAGES).samples is IMAGES
    samples = torch.randn(N, 2, dtype=torch.float64)
    assert torch.equal(next(InMemory(samples).read(ROWS))[0], samples[ROWS[0]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({3: (torch.zeros(1, 2, 2), 0)}, r"row 3: samples have shape \(1, 1, 2, 2\), expected \(N, 1, 2, 3\)"),
        ({0: (torch.full(SHAPE, torch.nan), 0)}, "row 0: samples hold 6 NaN or infinite"),
        ({7: (torch.full(SHAPE, 2.0), 0)}, r"row 7: samples span \[2, 2\], outside \(0.0, 1.0\)"),
        ({0: (IMAGES[0], 3)}, r"labels of rows \[7, 0, 3\] span \[0, 3\], expected \[0, 2\]"),
    ],
)
def test_a_bad_row_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        list(FromWorkers(Rows(change=change), PROMISE).read(ROWS))


def test_a_bad_row_is_named_by_a_worker():
    with pytest.raises(ValueError, match="row 7: samples span"):
        list(FromWorkers(Rows(change={7: (torch.full(SHAPE, 2.0), 0)}), PROMISE, 1).read(ROWS[:1]))


@pytest.mark.parametrize(
    ("item", "num_classes", "message"),
    [
        ((IMAGES[0], 1), None, r"row 7 is \(Tensor, int\), expected a Tensor where num_classes is None"),
        ((IMAGES[0],), None, r"row 7 is \(Tensor\), expected a Tensor"),
        (IMAGES[0], 3, r"row 7 is Tensor, expected \(Tensor, label\) where num_classes is 3"),
        (IMAGES[0].numpy(), None, "row 7 is ndarray, expected a Tensor"),
        ((IMAGES[0].numpy(), 1), 3, r"row 7 is \(ndarray, int\), expected \(Tensor, label\)"),
    ],
)
def test_an_item_of_another_kind_is_named(item, num_classes, message):
    class Items(Dataset):
        __len__, __getitem__ = (lambda self: N), (lambda self, row: item)

    with pytest.raises(ValueError, match=message):
        next(FromWorkers(Items(), Promise(SHAPE, num_classes, (0.0, 1.0))).read(ROWS))


@pytest.mark.filterwarnings("ignore:.*no accelerator is found")
@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_only_cuda_is_not_waited_for(device):
    seen = []

    class Copies(TorchFunctionMode):
        """Records copies to the device instead of making them."""

        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is torch.Tensor.to and str(args[1]) == device:
                seen.append(kwargs["non_blocking"])
                return args[0]
            return function(*args, **kwargs or {})

    with Copies():
        next(FromWorkers(Rows(), PROMISE).to(torch.device(device)).read(ROWS))
    assert seen == 2 * [device == "cuda"]  # samples and labels
