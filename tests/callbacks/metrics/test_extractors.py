from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from callbacks.metrics import Classifier, DigitsClassifier, Extractor, Pixels


class Normed(Classifier):
    """BatchNorm and dropout: everything that must not move."""

    def __init__(self) -> None:
        network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(12, 5))
        super().__init__("normed", 5, 2, network)

    def features(self, samples: Tensor) -> Tensor:
        features: Tensor = self.network(samples)
        return features

    def logits(self, features: Tensor) -> Tensor:
        return features[:, :2]


class Wrong(Normed):
    def features(self, samples: Tensor) -> Tensor:
        return super().features(samples)[:, :4]


@pytest.fixture
def normed() -> Normed:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Normed()


@pytest.fixture(params=["normed", "digits", "pixels"])
def extractor(request: pytest.FixtureRequest, normed: Normed) -> Extractor:
    return {"normed": lambda: normed, "digits": DigitsClassifier, "pixels": Pixels}[request.param]()


def images(size: int = 8) -> Tensor:
    return torch.rand(6, 1, size, size, generator=torch.Generator().manual_seed(0))


def shaped(extractor: Extractor) -> Tensor:
    return images(4 if isinstance(extractor, Normed) else 8)


def test_features_are_float32_rows_without_a_graph(extractor: Extractor) -> None:
    samples = shaped(extractor).requires_grad_()
    features = extractor(samples)
    assert features.dtype == torch.float32
    assert features.shape == (6, extractor.num_features or 64)
    assert not features.requires_grad


def test_nothing_that_holds_it_changes_it(extractor: Extractor) -> None:
    samples, before = shaped(extractor), extractor.hash
    expected = extractor(samples)
    holder = nn.Module()
    holder.extractor = extractor
    holder.train().to(torch.bfloat16).requires_grad_(True)
    assert not extractor.training
    assert list(holder.parameters()) == []
    assert holder.state_dict() == {}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(extractor(samples), expected)
    assert torch.equal(extractor(samples), expected)
    assert extractor.hash == before


def test_low_precision_samples_give_float32_features(extractor: Extractor) -> None:
    samples = shaped(extractor).bfloat16()
    assert torch.equal(extractor(samples), extractor(samples.float()))


def test_copies_are_equal(extractor: Extractor) -> None:
    samples = shaped(extractor)
    for twin in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert torch.equal(twin(samples), extractor(samples))
        assert twin.hash == extractor.hash


def test_the_network_follows_the_device(extractor: Extractor) -> None:
    moved = copy.deepcopy(extractor).to("meta")
    assert all(weight.device.type == "meta" for weight in moved.network.state_dict().values())


def test_hash_tells_weights_and_names_apart(normed: Normed) -> None:
    other = copy.deepcopy(normed)
    other.network[1].running_mean[0] += 1e-3
    assert other.hash != normed.hash
    assert Pixels().hash not in (normed.hash, DigitsClassifier().hash)


def test_classes_are_the_most_probable(normed: Normed) -> None:
    probabilities = normed.probabilities(images(4))
    assert probabilities.shape == (6, 2)
    assert torch.allclose(probabilities.sum(1), torch.ones(6))
    assert torch.equal(normed.classify(images(4)), probabilities.argmax(1))
    assert normed.classify(images(4)).dtype == torch.int64


def test_pixels_are_the_samples() -> None:
    assert torch.equal(Pixels()(images()), images().flatten(1))


def test_what_is_no_sample_is_refused(extractor: Extractor) -> None:
    with pytest.raises(ValueError, match="uint8 images / 255"):
        extractor(images().mul(255).byte())


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Wrong\.features gave shape \(6, 4\), not \(6, 5\)"):
        Wrong()(images(4))
