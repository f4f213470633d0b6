from __future__ import annotations

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.metrics import FrechetDistance, MNISTClassifier, StackedMNISTClassifier
from callbacks.metrics.extractors import train_classifier

WEIGHTS = resources.files("callbacks.metrics.extractors") / "mnist.npz"
REAL = Path(__file__).parents[4] / "shared" / "data" / "mnist"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real images in {REAL}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of MNIST's unpacked files."""
    root = tmp_path_factory.mktemp("data")
    (root / "MNIST" / "raw").mkdir(parents=True)
    for path in REAL.glob("*.gz"):
        (root / "MNIST" / "raw" / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return root


@pytest.fixture(scope="module")
def test_part(root: Path) -> tuple[Tensor, Tensor]:
    return train_classifier.mnist("test", root)


def images(n: int, channels: int = 3) -> Tensor:
    """Strokes rather than noise."""
    blocks = torch.rand(n, channels, 7, 7, generator=torch.Generator().manual_seed(0))
    return (blocks > 0.7).float().repeat_interleave(4, 2).repeat_interleave(4, 3)


def test_weights_are_small_plain_arrays() -> None:
    assert len(WEIGHTS.read_bytes()) <= 500_000
    with WEIGHTS.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_stored_accuracies_are_those_that_are_stated() -> None:
    classifier = MNISTClassifier()
    for accuracy in (classifier.val_accuracy, classifier.test_accuracy):
        assert accuracy >= 0.993
        assert MNISTClassifier.__doc__ is not None
        assert f"{100 * accuracy:.2f} %" in MNISTClassifier.__doc__


@needs_real
def test_stated_accuracy_is_that_of_the_test_images(test_part: tuple[Tensor, Tensor]) -> None:
    classifier, (digits, labels) = MNISTClassifier(), test_part
    assert len(digits) == 10_000
    found = torch.cat([classifier.classify(part) for part in torch.split(digits, 1000)])
    assert (found == labels).double().mean().item() == pytest.approx(classifier.test_accuracy, abs=2e-4)


@needs_real
def test_training_sees_neither_validation_nor_test_images(root: Path) -> None:
    rows = {
        split: {digit.numpy().tobytes() for digit in (train_classifier.mnist(split, root)[0] * 255).byte()}
        for split in ("train", "val", "test")
    }
    assert [len(rows[split]) for split in ("train", "val", "test")] == [55_000, 5_000, 10_000]
    assert len(rows["train"] | rows["val"] | rows["test"]) == 70_000


@needs_real
def test_distances_rank_what_the_eye_ranks(root: Path, test_part: tuple[Tensor, Tensor]) -> None:
    classifier, (digits, labels) = MNISTClassifier(), test_part
    real, fake, labels = digits[::2], digits[1::2], labels[1::2]  # the second half is of other writers
    metric = FrechetDistance(reset_real_features=False)
    for part in torch.split(real, 500):
        metric.update(classifier(part), real=True)

    def distance(samples: Tensor) -> float:
        metric.reset()
        for part in torch.split(samples, 500):
            metric.update(classifier(part), real=False)
        return float(metric.compute())

    noise = torch.randn(fake.shape, generator=torch.Generator().manual_seed(0))
    held_out = distance(fake)
    assert held_out < 0.3
    assert distance(train_classifier.mnist("train", root)[0][:5000]) < 1.5 * held_out
    assert distance((fake + 0.2 * noise).clamp(0, 1)) > 30 * held_out
    assert distance(fake[labels != 8]) > 15 * held_out
    assert distance(torch.nn.functional.avg_pool2d(fake, 3, 1, padding=1)) > 10 * held_out
    assert distance(fake[:1].expand(2000, -1, -1, -1)) > 500 * held_out


@needs_real
def test_triples_are_classed(test_part: tuple[Tensor, Tensor]) -> None:
    classifier, (digits, labels) = StackedMNISTClassifier(), test_part
    rows = torch.randint(10_000, (3000, 3), generator=torch.Generator().manual_seed(0))
    found = torch.cat([classifier.classify(part) for part in torch.split(digits[:, 0][rows], 500)])
    assert (found == labels[rows] @ torch.tensor([100, 10, 1])).float().mean() > 0.975


def test_a_triple_is_three_digits() -> None:
    one, three, samples = MNISTClassifier(), StackedMNISTClassifier(), images(20)
    digits = [samples[:, channel, None] for channel in range(3)]
    torch.testing.assert_close(three(samples), torch.cat([one(digit) for digit in digits], 1), rtol=1e-5, atol=1e-5)
    a, b, c = (one.probabilities(digit) for digit in digits)
    outer = torch.einsum("na,nb,nc->nabc", a, b, c).flatten(1)
    torch.testing.assert_close(three.probabilities(samples), outer, rtol=1e-4, atol=1e-6)
    classes = torch.stack([one.classify(digit) for digit in digits], 1) @ torch.tensor([100, 10, 1])
    assert torch.equal(three.classify(samples), classes)
    assert len(classes.unique()) > 1


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3, 28, 28\) are no 28x28 images of mnist \(N, 1, 28, 28\)"):
        MNISTClassifier()(images(2))
    with pytest.raises(ValueError, match=r"\(2, 1, 28, 28\) are no images of Stacked MNIST \(N, 3, 28, 28\)"):
        StackedMNISTClassifier()(images(2, channels=1))


@pytest.mark.parametrize("make", [MNISTClassifier, StackedMNISTClassifier])
def test_damaged_weights_are_named(make: type[MNISTClassifier | StackedMNISTClassifier], tmp_path: Path) -> None:
    (tmp_path / "new.npz").write_bytes(WEIGHTS.read_bytes()[:9000])
    with pytest.raises(RuntimeError, match=r"new\.npz, are missing or damaged.*train_classifier mnist"):
        make(tmp_path / "new.npz")
