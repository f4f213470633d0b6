"""Extractors: maps from samples to the features that metrics compare."""

from callbacks.metrics.extractors.base import Classifier, Extractor
from callbacks.metrics.extractors.digits import DigitsClassifier
from callbacks.metrics.extractors.from_module import ModuleClassifier, ModuleExtractor
from callbacks.metrics.extractors.mnist import MNISTClassifier
from callbacks.metrics.extractors.pixels import Pixels
from callbacks.metrics.extractors.random_projection import RandomProjection
from callbacks.metrics.extractors.stacked_mnist import StackedMNISTClassifier
from callbacks.metrics.extractors.torch_fidelity import InceptionV3, TorchFidelityExtractor

__all__ = [
    "Classifier",
    "DigitsClassifier",
    "Extractor",
    "InceptionV3",
    "MNISTClassifier",
    "ModuleClassifier",
    "ModuleExtractor",
    "Pixels",
    "RandomProjection",
    "StackedMNISTClassifier",
    "TorchFidelityExtractor",
]
