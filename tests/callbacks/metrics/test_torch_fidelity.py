"""torch-fidelity's extractors by name, without a network: its own classes on random weights from a file."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import extractor_recipes
import pytest
import torch
import torch_fidelity.feature_extractor_clip
import torch_fidelity.feature_extractor_inceptionv3
from torch import Tensor, nn
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from callbacks.metrics import InceptionV3, TorchFidelityExtractor


def images(channels: int = 3, side: int = 32) -> Tensor:
    """Two, with values between those of uint8."""
    return torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of Inception-v3, of variances that keep features of order one."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(torch_fidelity.feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    generator = torch.Generator().manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, generator=generator)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights on disk and none to be had."""

    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "urlopen", fail)


def test_inception_gives_what_torch_fidelity_gives_on_rounded_images(weights: Path) -> None:
    extractor = InceptionV3(weights)
    assert isinstance(extractor, TorchFidelityExtractor)
    own = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(weights))
    features, logits = own(images().mul(255).round().byte())
    made = extractor(images())
    assert features.std() > 0.1
    torch.testing.assert_close(made, features)
    torch.testing.assert_close(extractor.probabilities_of(made), logits.softmax(1))
    assert extractor.num_features == made.shape[1] == 2048
    assert extractor.num_classes == logits.shape[1] == 1008
    truncated, _ = own(images().mul(255).byte())
    assert (truncated - features).abs().max() > 1e-3
    named = TorchFidelityExtractor("inception-v3-compat", weights=weights)
    assert named.hash == extractor.hash
    assert named.name == extractor.name == "inception-v3-compat-2048"


def test_layers_have_features_and_hashes_of_their_own() -> None:
    pooled, squared = TorchFidelityExtractor("tiny"), TorchFidelityExtractor("tiny", layer="squared")
    torch.testing.assert_close(squared(images()), pooled(images()).square())
    assert squared.hash != pooled.hash


def test_grey_images_are_repeated_in_three_channels() -> None:
    extractor = TorchFidelityExtractor("tiny")
    assert torch.equal(extractor(images(1)), extractor(images(1).repeat(1, 3, 1, 1)))
    for channels in (2, 4):
        with pytest.raises(ValueError, match=rf"\(2, {channels}, 32, 32\) are no images of one or three channels"):
            extractor(images(channels))


def test_what_is_loaded_late_is_where_the_extractor_was_moved() -> None:
    extractor = TorchFidelityExtractor("tiny").to("meta")
    assert {weight.device.type for weight in extractor.network.loaded().state_dict().values()} == {"meta"}


def test_weights_of_a_file_are_used(tmp_path: Path) -> None:
    state = extractor_recipes.Tiny("tiny", ["pooled"]).state_dict()
    torch.save({name: 2 * weight for name, weight in state.items()}, tmp_path / "tiny.pth")
    doubled = TorchFidelityExtractor("tiny", weights=tmp_path / "tiny.pth")
    assert doubled.hash != TorchFidelityExtractor("tiny").hash
    assert not torch.equal(doubled(images()), TorchFidelityExtractor("tiny")(images()))


def test_unknown_names_layers_and_files_are_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no extractor 'inception'; it has .*inception-v3-compat.*dinov2-vit-b-14"):
        TorchFidelityExtractor("inception")
    with pytest.raises(ValueError, match=r"'inception-v3-compat' has no layer '1024'; it has 64, 192, 768, 2048"):
        TorchFidelityExtractor("inception-v3-compat", layer="1024")
    with pytest.raises(FileNotFoundError, match=r"none\.pth of extractor 'inception-v3-compat' is no file"):
        InceptionV3(tmp_path / "none.pth")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("inception-v3-compat", "https://github.com/toshas/torch-fidelity/.*inception-2015-12-05"),
        ("clip-vit-b-32", "https://openaipublic.*ViT-B-32"),
        ("dinov2-vit-s-14", "them elsewhere"),
    ],
)
def test_offline_the_first_use_says_what_to_fetch(name: str, file: str, tmp_path: Path) -> None:
    extractor = TorchFidelityExtractor(name)  # does not need the weights
    before = torch.get_rng_state()
    with pytest.raises(
        RuntimeError, match=rf"(?s)'{name}' could not be downloaded or read.*{tmp_path}.*{file}.*weights=PATH"
    ):
        extractor(images())
    with pytest.raises(RuntimeError, match="could not be downloaded"):
        print(extractor.hash)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("offline")
def test_dinov2_takes_no_file_and_says_what_else(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch()
    with pytest.raises(RuntimeError, match=rf"takes no file of weights for 'dinov2-vit-s-14'.*online.*{tmp_path}"):
        TorchFidelityExtractor("dinov2-vit-s-14", weights=tmp_path / "weights.pth")(images())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(RuntimeError, match=r"weights=.*linear\.pth are none of 'tiny'"):
        TorchFidelityExtractor("tiny", weights=tmp_path / "linear.pth")(images())


def test_every_registered_name_has_a_default_layer() -> None:
    for name in FEATURE_EXTRACTORS_REGISTRY:
        assert TorchFidelityExtractor(name).name.startswith(f"{name}-")
