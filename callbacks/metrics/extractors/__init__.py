"""Extractors: maps from samples to the features that metrics compare."""

from callbacks.metrics.extractors.base import Classifier, Extractor
from callbacks.metrics.extractors.digits import DigitsClassifier
from callbacks.metrics.extractors.pixels import Pixels

__all__ = ["Classifier", "DigitsClassifier", "Extractor", "Pixels"]
