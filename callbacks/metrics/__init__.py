"""Metrics of generated samples, as torchmetrics on features, modes or samples, and the extractors of features."""

from callbacks.metrics.copy_rate import CopyRate
from callbacks.metrics.extractors import Classifier, DigitsClassifier, Extractor, Pixels
from callbacks.metrics.frechet_distance import FrechetDistance
from callbacks.metrics.inception_score import InceptionScore
from callbacks.metrics.mode_coverage import ModeCoverage
from callbacks.metrics.vendi_score import VendiScore

__all__ = [
    "Classifier",
    "CopyRate",
    "DigitsClassifier",
    "Extractor",
    "FrechetDistance",
    "InceptionScore",
    "ModeCoverage",
    "Pixels",
    "VendiScore",
]
