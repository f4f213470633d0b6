"""What holds for every extractor that the package exports."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from extractor_recipes import CASES, EXPORTED, Case, hashes, head, normed
from torch import Tensor, nn
from workers import GlooPool

import callbacks.metrics.extractors
from callbacks.metrics import Classifier, Extractor, ModuleExtractor, Pixels


@pytest.fixture(params=EXPORTED)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def test_all_are_exported_with_the_metrics() -> None:
    assert set(callbacks.metrics.extractors.__all__) <= set(callbacks.metrics.__all__)


def test_features_are_float32_rows_without_a_graph(case: Case) -> None:
    extractor = case.make()
    assert extractor.num_features in (None, case.num_features)
    for n in (6, 1, 0):
        features = extractor(case.samples(n).requires_grad_())
        assert features.dtype == torch.float32
        assert features.shape == (n, case.num_features)
        assert not features.requires_grad


def test_nothing_that_holds_it_changes_it(case: Case) -> None:
    extractor, samples = case.make(), case.samples()
    before, expected = extractor.hash, extractor(samples)
    holder = nn.Module()
    holder.extractor = extractor
    for cast in (torch.bfloat16, torch.float16, torch.float64):
        holder.train().to(cast).requires_grad_(True)
        assert not extractor.training
        assert list(holder.parameters()) == []
        assert holder.state_dict() == {}
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(extractor(samples), expected)
    assert torch.equal(extractor(samples), expected)
    assert extractor.hash == before


def test_a_cast_before_the_first_use_does_not_matter(case: Case) -> None:
    extractor, samples = case.make().train().bfloat16(), case.samples()
    assert torch.equal(extractor(samples), case.make()(samples))


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_precision_of_training_does_not_reach_it(case: Case, precision: str) -> None:
    extractor, samples = case.make(), case.samples(64)
    expected = extractor(samples)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision(precision)
    try:
        assert torch.equal(extractor(samples), expected)
        assert torch.get_float32_matmul_precision() == precision
        assert torch.backends.cudnn.allow_tf32 == before[1]
    finally:
        torch.set_float32_matmul_precision(before[0])


def test_low_precision_samples_give_float32_features(case: Case) -> None:
    extractor, samples = case.make(), case.samples().bfloat16()
    assert torch.equal(extractor(samples), extractor(samples.float()))


def test_batches_do_not_matter(case: Case) -> None:
    extractor, samples = case.make(), case.samples()
    parts = torch.cat([extractor(part) for part in samples.split([1, 3, 2])])
    torch.testing.assert_close(parts, extractor(samples), rtol=1e-5, atol=1e-5)


def test_first_use_in_inference_mode_leaves_it_usable(case: Case) -> None:
    extractor, samples = case.make(), case.samples()
    with torch.inference_mode():
        features = extractor(samples.clone())
    assert torch.equal(copy.deepcopy(extractor)(samples), features)
    assert not any(weight.is_inference() for weight in extractor.network.state_dict().values())


def test_copies_are_equal(case: Case) -> None:
    extractor, samples = case.make(), case.samples()
    early = pickle.loads(pickle.dumps(extractor))
    expected = extractor(samples)
    for twin in (early, copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        assert torch.equal(twin(samples), expected)
        assert twin.hash == extractor.hash


def test_the_network_follows_the_device(case: Case) -> None:
    extractor = case.make()
    assert extractor.hash
    moved = copy.deepcopy(extractor).to("meta")
    assert all(weight.device.type == "meta" for weight in moved.network.state_dict().values())


def test_hash_tells_weights_and_preparation_apart(case: Case) -> None:
    extractor = case.make()
    hashes = {extractor.hash}
    for name, value in {"name": "other", "resize": "nearest 3x3", "value_range": (-1.0, 1.0)}.items():
        other = copy.deepcopy(extractor)
        setattr(other, name, value)
        hashes.add(other.hash)
    assert len(hashes) == 4
    if weights := list(extractor.network.state_dict().values()):
        weights[0].view(-1)[0] += 1e-3
        assert extractor.hash not in hashes


def test_hashes_differ_and_are_those_of_other_processes(gloo: GlooPool) -> None:
    here = hashes()
    assert len(set(here.values())) == len(here)
    assert gloo(hashes) == [here, here]


def test_global_random_states_are_left_alone(case: Case) -> None:
    def states() -> tuple[bytes, str, bytes]:
        return torch.get_rng_state().numpy().tobytes(), str(random.getstate()), pickle.dumps(np.random.get_state())  # noqa: NPY002

    before = states()
    extractor = case.make()
    extractor(case.samples())
    assert extractor.hash
    assert states() == before


def test_integers_are_refused(case: Case) -> None:
    with pytest.raises(ValueError, match="uint8 images / 255"):
        case.make()(case.samples().mul(255).byte())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
def test_samples_that_are_not_finite_are_counted(case: Case, value: float) -> None:
    samples = case.samples()
    samples[1].view(-1)[:3] = value
    samples[4].view(-1)[-1] = value
    with pytest.raises(ValueError, match="2 of 6 samples are not finite"):
        case.make()(samples)


def test_values_out_of_range_are_told_and_round_off_clamped(case: Case) -> None:
    extractor, samples = case.make(), case.samples()
    samples.view(6, -1)[:, :2] = torch.tensor([0.0, 1.0])
    rounded = samples + torch.where(samples == 0, -5e-4, 0) + torch.where(samples == 1, 5e-4, 0)
    extreme = samples + (samples == 1)
    if extractor.value_range is None:
        assert not torch.equal(extractor(extreme), extractor(samples))
        return
    assert torch.equal(extractor(rounded), extractor(samples))
    with pytest.raises(ValueError, match=r"from 0 to 2, and 6 of [\d,]+ values are outside \[0, 1\].*decode.*clamp"):
        extractor(extreme)


def test_classes_are_the_most_probable(case: Case) -> None:
    classifier, samples = case.make(), case.samples()
    if not isinstance(classifier, Classifier):
        pytest.skip("gives no classes")
    probabilities = classifier.probabilities(samples)
    assert probabilities.dtype == torch.float32
    assert probabilities.shape == (6, classifier.num_classes)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6))
    assert torch.equal(classifier.classify(samples), probabilities.argmax(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(classifier.probabilities_of(classifier(samples)), probabilities)


class Wrong(Extractor):
    """Gives fewer features than it says."""

    def __init__(self) -> None:
        super().__init__("wrong", 5, nn.Sequential(normed(), head()))

    def features(self, samples: Tensor) -> Tensor:
        features: Tensor = self.network(samples)
        return features


def test_wrong_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Wrong\.features gave shape \(6, 2\), not \(6, 5\)"):
        Wrong()(torch.zeros(6, 1, 4, 4))


def test_other_ranges_are_kept() -> None:
    extractor = ModuleExtractor(nn.Flatten(), name="flat", value_range=(-1, 1))
    samples = torch.tensor([[-1.0, 1.0015], [0.5, 1.0]])
    assert torch.equal(extractor(samples), samples.clamp(-1, 1))
    with pytest.raises(ValueError, match=r"from -1 to 1\.01, and 1 of 4 values are outside \[-1, 1\]"):
        extractor(torch.tensor([[-1.0, 1.01], [0.5, 1.0]]))


def test_pixels_are_the_samples() -> None:
    samples = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Pixels()(samples), samples.flatten(1))
