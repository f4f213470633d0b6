"""Small classifiers whose weights come with the package."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from callbacks.metrics.extractors.base import Classifier


@dataclass(frozen=True)
class Architecture:
    """A small convolutional classifier of grey images.

    Attributes:
        name: of the data, of the weights' file, and of the features in logs.
        side: of the images, in pixels.
        layers: channels and stride of each 3x3 convolution.
        num_features: width of the hidden layer.
        num_classes: K.
    """

    name: str
    side: int
    layers: tuple[tuple[int, int], ...]
    num_features: int = 64
    num_classes: int = 10

    @property
    def file(self) -> str:
        """Name of the weights' file beside this module."""
        return f"{self.name}.npz"


class SmallNetwork(nn.Module):
    """Grey images (N, 1, side, side) in [0, 1] to features (N, d); ``head`` takes these to logits (N, K)."""

    scale: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        channels = [1, *(channels for channels, _ in architecture.layers)]
        convolutions: list[nn.Module] = []
        side = architecture.side
        for (inputs, outputs), (_, stride) in zip(pairwise(channels), architecture.layers, strict=True):
            convolutions += [nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride), nn.GELU()]
            side = (side - 1) // stride + 1
        self.convolutions = nn.Sequential(*convolutions, nn.Flatten())
        self.hidden = nn.Linear(channels[-1] * side * side, architecture.num_features)
        self.head = nn.Linear(architecture.num_features, architecture.num_classes)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return gelu(self.hidden(self.convolutions(2 * images - 1))) * self.scale


class SmallClassifier(Classifier):
    """Penultimate features and the class of grey images (N, 1, side, side) in [0, 1].

    Args:
        weights: a file that ``train_classifier`` wrote; the one that comes with the package if None.

    Raises:
        RuntimeError: the file is missing or damaged.
    """

    architecture: ClassVar[Architecture]
    network: SmallNetwork

    def __init__(self, weights: str | PathLike[str] | None = None) -> None:
        network, accuracies = load(self.architecture, weights)
        super().__init__(self.architecture.name, self.architecture.num_features, self.architecture.num_classes, network)
        #: share of the validation and of the test images classified right, measured after training
        self.val_accuracy, self.test_accuracy = accuracies

    def features(self, samples: Tensor) -> Tensor:
        side = self.architecture.side
        if samples.shape[1:] != (1, side, side):
            wanted = f"{side}x{side} images of {self.architecture.name} (N, 1, {side}, {side})"
            raise ValueError(
                f"samples of shape {tuple(samples.shape)} are no {wanted}, which {type(self).__name__} takes: choose "
                "an extractor for these data, such as Pixels for points, or RandomProjection or InceptionV3 for images."
            )
        features: Tensor = self.network(samples)
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.network.head(features)
        return logits


def save(path: str | PathLike[str], network: SmallNetwork, val_accuracy: float, test_accuracy: float) -> None:
    """Write a network and its measured accuracies as the float32 arrays that ``load`` reads."""
    arrays: dict[str, Any] = {name: weight.numpy() for name, weight in network.state_dict().items()}
    arrays |= {"val_accuracy": np.float32(val_accuracy), "test_accuracy": np.float32(test_accuracy)}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def load(
    architecture: Architecture, path: str | PathLike[str] | None = None
) -> tuple[SmallNetwork, tuple[float, float]]:
    """A trained network and its accuracies on validation and test images, by default those of the package.

    Raises:
        RuntimeError: the file is missing or damaged.
    """
    with torch.device("meta"):  # no weights are drawn only to be replaced, and no random numbers used
        network = SmallNetwork(architecture)
    source = resources.files(__package__) / architecture.file if path is None else Path(path)
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            accuracies = float(arrays["val_accuracy"]), float(arrays["test_accuracy"])
            weights = {name: torch.from_numpy(arrays[name]) for name in network.state_dict()}
        network.load_state_dict(weights, assign=True)
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise RuntimeError(
            f"The weights of the classifier of {architecture.name}, {source}, are missing or damaged ({error}): "
            "install the package again, or make them anew with "
            f"`python -m callbacks.metrics.extractors.train_classifier {architecture.name}`."
        ) from error
    return network, accuracies
