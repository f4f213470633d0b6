from __future__ import annotations

from pathlib import Path

import pytest
import torch
from extractor_recipes import head, normed
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from callbacks import SampleMetrics
from callbacks.metrics import Extractor, ModuleClassifier, ModuleExtractor


def images(side: int = 4) -> Tensor:
    return torch.rand(6, 1, side, side, generator=torch.Generator().manual_seed(0))


def test_features_are_those_of_the_module_in_eval_mode() -> None:
    module = normed()
    extractor = ModuleExtractor(module, name="mine")
    assert torch.equal(extractor(images()), module.eval()(images()))
    assert extractor.name == "mine"


def test_the_users_module_stays_as_it_is() -> None:
    module = normed().double().train()
    extractor = ModuleExtractor(module, name="mine")
    expected, before = extractor(images()), extractor.hash
    assert module.training
    assert all(weight.requires_grad and weight.dtype == torch.float64 for weight in module.parameters())
    for _ in range(3):
        module(images().double()).sum().backward()
    nn.init.zeros_(module[0].weight)
    assert torch.equal(extractor(images()), expected)
    assert extractor.hash == before


def test_images_are_resized_without_aliasing() -> None:
    extractor = ModuleExtractor(nn.Flatten(), name="small", size=[4, 8])
    assert extractor.resize == "bilinear 4x8, antialiased"
    chequered = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(1, 1, 8, 16)
    torch.testing.assert_close(extractor(chequered), torch.full((1, 32), 0.5), rtol=0, atol=0.1)
    assert extractor.hash != ModuleExtractor(nn.Flatten(), name="small", size=[8, 4]).hash
    halved = ModuleExtractor(nn.Flatten(), name="small", size=8)(torch.full((2, 1, 16, 16), 0.25))
    torch.testing.assert_close(halved, avg_pool2d(torch.full((2, 1, 16, 16), 0.25), 2).flatten(1))


def test_the_hash_tells_modules_without_weights_apart() -> None:
    modules = [nn.Flatten(), nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), nn.Sequential(nn.MaxPool2d(2), nn.Flatten())]
    assert len({ModuleExtractor(module, name="mine").hash for module in modules}) == 3


def test_a_classifier_classes_by_its_head() -> None:
    classifier = ModuleClassifier(normed(), head(), name="mine", num_classes=2)
    features = normed().eval()(images())
    assert torch.equal(classifier(images()), features)
    assert torch.equal(classifier.probabilities(images()), head()(features).softmax(1))
    wrong = ModuleClassifier(normed(), head(), name="mine", num_classes=3)
    with pytest.raises(ValueError, match=r"head of extractor mine gave shape \(6, 2\), not \(6, 3\)"):
        wrong.probabilities(images())


def test_what_is_no_row_of_features_is_refused() -> None:
    with pytest.raises(ValueError, match=r"gave shape \(6, 1, 4, 4\), not \(6, d\)"):
        ModuleExtractor(nn.Identity(), name="maps")(images())
    with pytest.raises(ValueError, match=r"gave shape \(6, 16\), not \(6, 5\)"):
        ModuleExtractor(nn.Flatten(), name="flat", num_features=5)(images())
    with pytest.raises(ValueError, match="extractor lists gave list, not a tensor"):
        ModuleExtractor(Lists(), name="lists")(images())


class Lists(nn.Module):
    """Gives what no extractor may."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_weights_of_a_file_are_read(tmp_path: Path) -> None:
    trained = normed()
    nn.init.constant_(trained[1].running_mean, 0.3)
    torch.save(trained.state_dict(), tmp_path / "trained.pt")
    extractor = ModuleExtractor(normed(), name="mine", weights=tmp_path / "trained.pt")
    assert torch.equal(extractor(images()), trained.eval()(images()))
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(head().state_dict(), tmp_path / "other.pt")
    for name in ("text.pt", "other.pt"):
        with pytest.raises(ValueError, match=rf"{name} is no state_dict of Sequential"):
            ModuleExtractor(normed(), name="mine", weights=tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        ModuleExtractor(normed(), name="mine", weights=tmp_path / "none.pt")


@pytest.mark.parametrize("kind", ["ModuleExtractor", "ModuleClassifier"])
def test_recipes_name_modules_by_class_path(kind: str) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(SampleMetrics, "metrics")
    arguments = {"module": {"class_path": "torch.nn.Flatten"}, "name": "flat", "size": 2, "value_range": [-1, 1]}
    if kind == "ModuleClassifier":
        identity = {"class_path": "torch.nn.Linear", "init_args": {"in_features": 4, "out_features": 3}}
        arguments |= {"head": identity, "num_classes": 3}
    recipe = {"extractor": {"class_path": f"callbacks.metrics.{kind}", "init_args": arguments}}
    extractor = parser.instantiate(parser.parse_object({"metrics": recipe})).metrics.extractor
    assert isinstance(extractor, Extractor)
    assert type(extractor).__name__ == kind
    assert extractor.value_range == (-1, 1)
    assert extractor(-images()).shape == (6, 4)
