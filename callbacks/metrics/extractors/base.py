"""Extractors: maps from samples to the features that metrics compare."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Extractor(nn.Module, ABC):
    """A fixed map from samples (N, ...) to features (N, d), the same in every run, mode and precision.

    Samples are in data space: images are floats in [0, 1], shape (N, C, H, W). Features are float32, without a
    graph; autocast does not reach them. The network is no submodule: it follows ``to(device)``, but neither training
    mode, nor casts, nor optimizers, nor checkpoints of a module that holds the extractor see it.

    Args:
        name: names the features in logs.
        num_features: d; None where it is that of the samples.
        network: holds all weights; float32 and in eval mode from here on.
    """

    network: nn.Module

    def __init__(self, name: str, num_features: int | None, network: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.num_features = num_features
        object.__setattr__(self, "network", network.float().eval().requires_grad_(False))  # not as a submodule
        self.eval()

    @abstractmethod
    def features(self, samples: Tensor) -> Tensor:
        """Features (N, d) of float32 samples; runs in ``forward``, without grad and autocast."""

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with the name and with any weight."""
        digest = hashlib.sha256(self.name.encode())
        for key, weight in self.network.state_dict().items():
            digest.update(f"{key} {tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def forward(self, samples: Tensor) -> Tensor:
        """Features of the samples, float32 (N, d).

        Raises:
            ValueError: samples are not floating, or of a shape the network does not take.
        """
        if not samples.is_floating_point():
            raise ValueError(f"samples are {samples.dtype}; extractors take floats in data space (uint8 images / 255).")
        features: Tensor = self._exactly(self.features, samples)
        if features.ndim != 2 or len(features) != len(samples) or self.num_features not in (None, features.shape[1]):
            shape = f"({len(samples)}, {self.num_features or 'd'})"
            raise ValueError(f"{type(self).__name__}.features gave shape {tuple(features.shape)}, not {shape}.")
        return features

    def train(self, mode: bool = True) -> Extractor:
        """Stays in eval mode, whatever is asked."""
        return super().train(False)

    @staticmethod
    @torch.no_grad()
    def _exactly(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, enabled=False):
            return function(inputs.detach().float()).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        here = next((weight.device for weight in self.network.state_dict().values()), torch.device("cpu"))
        self.network.to(fn(torch.empty(0, device=here)).device)  # the dtype stays
        apply: Callable[..., Extractor] = super()._apply
        return apply(fn, recurse)


class Classifier(Extractor):
    """An extractor whose features also tell the class of a sample.

    Args:
        num_classes: K.
    """

    def __init__(self, name: str, num_features: int | None, num_classes: int, network: nn.Module) -> None:
        super().__init__(name, num_features, network)
        self.num_classes = num_classes

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Class logits (N, K) from features (N, d)."""

    def probabilities(self, samples: Tensor) -> Tensor:
        """Class probabilities of the samples, float32 (N, K)."""
        return self.probabilities_of(self(samples))

    def probabilities_of(self, features: Tensor) -> Tensor:
        """Class probabilities, float32 (N, K), from features (N, d) that are known already."""
        return self._exactly(self.logits, features).softmax(1)

    def classify(self, samples: Tensor) -> Tensor:
        """The most probable class of each sample, int64 (N,) in [0, K - 1]."""
        return self._exactly(self.logits, self(samples)).argmax(1)
