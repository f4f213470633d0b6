from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.metrics import DigitsClassifier, FrechetDistance
from callbacks.metrics.extractors import train_classifier

WEIGHTS = resources.files("callbacks.metrics.extractors") / "digits.npz"


@pytest.fixture(scope="module")
def classifier() -> DigitsClassifier:
    return DigitsClassifier()


def distance(classifier: DigitsClassifier, real: Tensor, fake: Tensor) -> float:
    metric = FrechetDistance(classifier.num_features)
    metric.update(classifier(real), real=True)
    metric.update(classifier(fake), real=False)
    return float(metric.compute())


@pytest.mark.parametrize("split", ["val", "test"])
def test_stated_accuracy_is_that_of_the_held_out_digits(classifier: DigitsClassifier, split: str) -> None:
    images, labels = train_classifier.digits(split)
    assert len(images) == 300
    measured = (classifier.classify(images) == labels).double().mean().item()
    assert measured == pytest.approx(getattr(classifier, f"{split}_accuracy"), abs=1e-6)
    assert measured >= 0.985
    assert DigitsClassifier.__doc__ is not None
    assert f"{100 * measured:.1f} %" in DigitsClassifier.__doc__


def test_splits_do_not_overlap() -> None:
    rows = [
        tuple(image.flatten().tolist())
        for split in ("train", "val", "test")
        for image in train_classifier.digits(split)[0]
    ]
    assert len(rows) == len(set(rows)) == 1797


def test_distances_rank_what_the_eye_ranks(classifier: DigitsClassifier) -> None:
    train, _ = train_classifier.digits("train")
    (val, val_labels), (test, test_labels) = train_classifier.digits("val"), train_classifier.digits("test")
    held_out, labels = torch.cat([val, test]), torch.cat([val_labels, test_labels])
    noise = torch.randn(held_out.shape, generator=torch.Generator().manual_seed(0))
    floor = distance(classifier, train, held_out)
    assert floor < 0.5
    assert distance(classifier, train, (held_out + 0.1 * noise).clamp(0, 1)) > 3 * floor
    assert distance(classifier, train, held_out[labels != 8]) > 5 * floor
    assert distance(classifier, train, torch.nn.functional.avg_pool2d(held_out, 3, 1, padding=1)) > 50 * floor
    assert distance(classifier, train, held_out[:1].expand(600, -1, -1, -1)) > 200 * floor


def test_training_digits_are_no_nearer_to_each_other_than_to_held_out_ones(classifier: DigitsClassifier) -> None:
    images, _ = train_classifier.digits("train")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    within = distance(classifier, images[order[300:]], images[order[:300]])
    assert distance(classifier, images, train_classifier.digits("test")[0]) < 1.5 * within


def test_features_have_the_stated_scale(classifier: DigitsClassifier) -> None:
    features = classifier(train_classifier.digits("train")[0])
    assert features.var(0).sum().item() == pytest.approx(100, rel=1e-4)


def test_other_shapes_are_refused(classifier: DigitsClassifier) -> None:
    with pytest.raises(
        ValueError, match=r"\(2, 3, 32, 32\) are no 8x8 images of digits.*DigitsClassifier.*RandomProjection"
    ):
        classifier(torch.zeros(2, 3, 32, 32))


def test_construction_uses_no_random_numbers_and_gives_one_hash() -> None:
    before = torch.get_rng_state()
    assert DigitsClassifier().hash == DigitsClassifier().hash
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_are_small_plain_arrays() -> None:
    assert len(WEIGHTS.read_bytes()) <= 300_000
    with WEIGHTS.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "truncated", "other", "misshapen"])
def test_damaged_weights_are_named(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "digits.npz"
    content = WEIGHTS.read_bytes()
    if damage in ("empty", "text", "truncated"):
        path.write_bytes({"empty": b"", "text": b"not found", "truncated": content[:9000]}[damage])
    elif damage == "other":
        np.savez(path, weights=np.zeros(3))
    elif damage == "misshapen":
        with np.load(WEIGHTS.open("rb")) as arrays:
            np.savez(path, **{name: array.reshape(-1) for name, array in arrays.items()})
    with pytest.raises(RuntimeError, match=r"digits\.npz, are missing or damaged.*train_classifier digits"):
        DigitsClassifier(path)


def test_training_is_private_and_repeatable(tmp_path: Path) -> None:
    images, labels = train_classifier.digits("train")
    before = torch.get_rng_state()
    architecture = DigitsClassifier.architecture
    networks = [train_classifier.train(architecture, images, labels, epochs=1) for _ in range(2)]
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    logits = networks[0].head(networks[0](images))
    train_classifier.scaled(networks[0], images)
    torch.testing.assert_close(networks[0].head(networks[0](images)), logits, rtol=1e-4, atol=1e-4)
    train_classifier.save(tmp_path / "new.npz", networks[0], 0.5, 0.25)
    classifier = DigitsClassifier(tmp_path / "new.npz")
    assert (classifier.val_accuracy, classifier.test_accuracy) == (0.5, 0.25)
    torch.testing.assert_close(classifier(images), networks[0](images))
