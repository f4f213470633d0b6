"""Extractors: maps from samples to the features that metrics compare."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from callbacks.metrics.value_range import in_range


class Extractor(nn.Module, ABC):
    """A fixed map from samples (N, ...) to features (N, d), the same in every run, mode and precision.

    Samples are in data space: images are floats in [0, 1], shape (N, C, H, W). Features are float32, without a
    graph; autocast does not reach them. The network is no submodule: it follows ``to(device)``, but neither training
    mode, nor casts, nor optimizers, nor checkpoints of a module that holds the extractor see it.

    Features can be compared where name, weights, ``resize`` and ``value_range`` are the same; ``hash`` covers them.

    Args:
        name: names the features in logs.
        num_features: d; None where samples or a network that is loaded later determine it.
        network: holds all weights; float32 and in eval mode from here on.
        resize: says what is done to samples before the network, resizing above all, such as "bilinear 299x299".
        value_range: of samples; None where any finite floats will do.
    """

    network: nn.Module

    def __init__(
        self,
        name: str,
        num_features: int | None,
        network: nn.Module,
        *,
        resize: str = "none",
        value_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.name = name
        self.num_features = num_features
        self.resize = resize
        self.value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        object.__setattr__(self, "network", network.float().eval().requires_grad_(False))  # not as a submodule
        self.eval()

    @abstractmethod
    def features(self, samples: Tensor) -> Tensor:
        """Features (N, d) of float32 samples in range; runs in ``forward``, without grad and autocast."""

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with the name, any weight, ``resize`` and ``value_range``."""
        digest = hashlib.sha256(f"{self.name}\n{self.resize}\n{self.value_range}\n".encode())
        for key, weight in self.network.state_dict().items():
            digest.update(f"{key} {tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def forward(self, samples: Tensor) -> Tensor:
        """Features of the samples, float32 (N, d).

        Raises:
            ValueError: samples are not floating, not finite, out of ``value_range`` by more than round-off, or of a
                shape the network does not take.
        """
        features: Tensor = self._exactly(self.features, in_range(samples, self.value_range, type(self).__name__))
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
        with torch.autocast(inputs.device.type, enabled=False), full_precision():
            return function(inputs.detach().float()).float()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        tensors = chain(self.network.parameters(), self.network.buffers())
        here = next((weight.device for weight in tensors), torch.device("cpu"))
        with torch.inference_mode(False):  # or weights would be of that mode for good
            self.network.to(fn(torch.empty(0, device=here)).device)  # the dtype stays
        apply: Callable[..., Extractor] = super()._apply
        return apply(fn, recurse)


@contextmanager
def full_precision() -> Iterator[None]:
    """No TensorFloat-32 or bfloat16 in place of float32, though training may want it and cuDNN's default has it."""
    cudnn = torch.backends.cudnn
    try:
        products, convolutions = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    except RuntimeError:  # set for each backend by itself, which this interface can't restore
        yield
        return
    if products != "highest":  # setting what is set already is no no-op: it would fix what is inherited
        torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        if products != "highest":
            torch.set_float32_matmul_precision(products)
        cudnn.allow_tf32 = convolutions


class Classifier(Extractor):
    """An extractor whose features also tell the class of a sample.

    Args:
        name: as of Extractor, like all other arguments but this:
        num_classes: K.
    """

    num_classes: int
    #: whether its classes are those of the data it is for, and so their modes
    classes_are_modes = True

    def __init__(
        self,
        name: str,
        num_features: int | None,
        num_classes: int,
        network: nn.Module,
        *,
        resize: str = "none",
        value_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__(name, num_features, network, resize=resize, value_range=value_range)
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
