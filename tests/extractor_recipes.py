"""One case for every extractor that the package exports: how it is made, and what it takes and gives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_fidelity import register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

import callbacks.metrics
from callbacks.metrics import (
    DigitsClassifier,
    Extractor,
    InceptionV3,
    MNISTClassifier,
    ModuleClassifier,
    ModuleExtractor,
    Pixels,
    RandomProjection,
    StackedMNISTClassifier,
    TorchFidelityExtractor,
)


@dataclass(frozen=True)
class Case:
    """An extractor's constructor, the shape of a sample, and d."""

    make: Callable[[], Extractor]
    shape: tuple[int, ...]
    num_features: int

    def samples(self, n: int = 6) -> Tensor:
        """In [0, 1], as images are."""
        return torch.rand(n, *self.shape, generator=torch.Generator().manual_seed(0))


class Tiny(FeatureExtractorBase):
    """As torch-fidelity's own: draws its weights, or reads them, takes RGB in uint8, and leaves training mode."""

    width = 5

    def __init__(self, name, features_list, feature_extractor_weights_path=None, **kwargs):
        super().__init__(name, features_list)
        self.convolution = nn.Conv2d(3, self.width, 3)
        self.norm = nn.BatchNorm2d(self.width)
        self.fc = nn.Linear(self.width, 1008)
        if feature_extractor_weights_path is None:
            for seed, weight in enumerate(self.state_dict().values()):
                weight.copy_(torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)))
        else:
            self.load_state_dict(torch.load(feature_extractor_weights_path))

    def forward(self, x):
        assert x.dtype == torch.uint8
        assert x.shape[1] == 3
        pooled = self.norm(self.convolution(x.float() / 255)).mean((2, 3))
        made = {"pooled": pooled, "2048": pooled, "squared": pooled.square()}
        return tuple(made[layer] for layer in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "pooled", "squared", "2048"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "pooled"


class TinyInception(Tiny):
    """With as many features as Inception-v3."""

    width = 2048


if "tiny" not in FEATURE_EXTRACTORS_REGISTRY:
    register_feature_extractor("tiny", Tiny)


def tiny_inception() -> InceptionV3:
    """InceptionV3 as it is, on a network that costs nothing."""
    name = "inception-v3-compat"
    own, FEATURE_EXTRACTORS_REGISTRY[name] = FEATURE_EXTRACTORS_REGISTRY[name], TinyInception
    try:
        made = InceptionV3()
        made.network.loaded()
    finally:
        FEATURE_EXTRACTORS_REGISTRY[name] = own
    return made


def normed() -> nn.Module:
    """BatchNorm and dropout: everything that must not move."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(), nn.Flatten(), nn.Linear(12, 5))


def head() -> nn.Module:
    """To two classes."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Linear(5, 2)


CASES = {
    "DigitsClassifier": Case(DigitsClassifier, (1, 8, 8), 64),
    "InceptionV3": Case(tiny_inception, (3, 9, 9), 2048),
    "MNISTClassifier": Case(MNISTClassifier, (1, 28, 28), 64),
    "ModuleClassifier": Case(lambda: ModuleClassifier(normed(), head(), name="normed", num_classes=2), (1, 4, 4), 5),
    "ModuleExtractor": Case(lambda: ModuleExtractor(normed(), name="normed", size=4), (1, 9, 9), 5),
    "Pixels": Case(Pixels, (1, 8, 8), 64),
    "RandomProjection": Case(lambda: RandomProjection(32), (3, 8, 8), 32),
    "StackedMNISTClassifier": Case(StackedMNISTClassifier, (3, 28, 28), 192),
    "TorchFidelityExtractor": Case(lambda: TorchFidelityExtractor("tiny"), (1, 9, 9), 5),
}
EXPORTED = sorted(
    name
    for name in callbacks.metrics.__all__
    if isinstance(made := getattr(callbacks.metrics, name), type)
    and issubclass(made, Extractor)
    and not inspect.isabstract(made)
)


def hashes(rank: int = 0, world: int = 1) -> dict[str, str]:
    """Of every extractor, in this process."""
    return {name: CASES[name].make().hash for name in EXPORTED}
