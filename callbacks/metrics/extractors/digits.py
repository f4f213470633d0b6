"""A small classifier of 8x8 digits whose features stand in for Inception's."""

from __future__ import annotations

import zipfile
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from callbacks.metrics.extractors.base import Classifier


class DigitsNetwork(nn.Module):
    """8x8 digits (N, 1, 8, 8) in [0, 1] to features (N, 64), and these to logits (N, 10): 48 thousand parameters."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1), nn.GELU()),
            *(nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.GELU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.GELU()),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(32 * 4 * 4, 64)
        self.head = nn.Linear(64, 10)
        self.register_buffer("scale", torch.ones(()))

    def forward(self, digits: Tensor) -> Tensor:
        return gelu(self.hidden(self.convolutions(2 * digits - 1))) * self.scale


class DigitsClassifier(Classifier):
    """64 penultimate features and the class of 8x8 digits, for scikit-learn's digits divided by 16.

    Trained by ``train_digits`` on 1,197 of the 1,797 digits; accuracy on 300 validation digits 99.3 %, on 300 test
    digits 99.3 %. Features are scaled so that their total variance on the training digits is 100: a Frechet distance
    of 1 is one per cent of it. Samples are clamped to [0, 1].

    Frechet distances to the training digits, as measured, of the 600 held-out digits 0.4 (300 of them 0.6 or 0.7, and
    held-out 300 to 300 0.9); of the 600 with Gaussian noise of 0.1 1.9, without one class 4 to 11, under a binomial
    3x3 blur 39; of 600 samples of a Gaussian with the training pixels' mean and covariance 38; of one digit 197.

    Args:
        weights: a file that ``train_digits`` wrote; the one that comes with the package if None.

    Raises:
        RuntimeError: the file is missing or damaged.
    """

    network: DigitsNetwork

    def __init__(self, weights: str | PathLike[str] | None = None) -> None:
        network, accuracies = _load(weights)
        super().__init__("digits", 64, 10, network)
        #: share of the 300 validation and of the 300 test digits classified right, measured after training
        self.val_accuracy, self.test_accuracy = accuracies

    def features(self, samples: Tensor) -> Tensor:
        if samples.shape[1:] != (1, 8, 8):
            raise ValueError(f"samples of shape {tuple(samples.shape)} are no 8x8 digits (N, 1, 8, 8).")
        features: Tensor = self.network(samples.clamp(0, 1))
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.network.head(features)
        return logits


def save(path: str | PathLike[str], network: DigitsNetwork, val_accuracy: float, test_accuracy: float) -> None:
    """Write a network and its measured accuracies as the float32 arrays that DigitsClassifier reads."""
    arrays: dict[str, Any] = {name: weight.numpy() for name, weight in network.state_dict().items()}
    arrays |= {"val_accuracy": np.float32(val_accuracy), "test_accuracy": np.float32(test_accuracy)}
    with open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def _load(path: str | PathLike[str] | None) -> tuple[DigitsNetwork, tuple[float, float]]:
    with torch.device("meta"):  # no weights are drawn only to be replaced, and no random numbers used
        network = DigitsNetwork()
    source = resources.files(__package__) / "digits.npz" if path is None else Path(path)
    try:
        with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            accuracies = float(arrays["val_accuracy"]), float(arrays["test_accuracy"])
            weights = {name: torch.from_numpy(arrays[name]) for name in network.state_dict()}
        network.load_state_dict(weights, assign=True)
    except (OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise RuntimeError(
            f"The weights of DigitsClassifier, {source}, are missing or damaged ({error}): install the package "
            "again, or make them anew with `python -m callbacks.metrics.extractors.train_digits`."
        ) from error
    return network, accuracies
