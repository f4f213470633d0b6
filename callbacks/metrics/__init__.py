"""Metrics of generated samples, as torchmetrics on features, modes or samples, and the extractors of features."""

from callbacks.metrics.copy_rate import CopyRate
from callbacks.metrics.extractors import (
    Classifier,
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
from callbacks.metrics.frechet_distance import FrechetDistance
from callbacks.metrics.geodesic_coverage import GeodesicCoverage
from callbacks.metrics.inception_score import InceptionScore
from callbacks.metrics.manifold_collapse import ManifoldCollapse
from callbacks.metrics.mode_coverage import ModeCoverage
from callbacks.metrics.ms_ssim_diversity import MSSSIMDiversity
from callbacks.metrics.precision_recall_density_coverage import PrecisionRecallDensityCoverage
from callbacks.metrics.vendi_score import VendiScore

__all__ = [
    "Classifier",
    "CopyRate",
    "DigitsClassifier",
    "Extractor",
    "FrechetDistance",
    "GeodesicCoverage",
    "InceptionScore",
    "InceptionV3",
    "MNISTClassifier",
    "MSSSIMDiversity",
    "ManifoldCollapse",
    "ModeCoverage",
    "ModuleClassifier",
    "ModuleExtractor",
    "Pixels",
    "PrecisionRecallDensityCoverage",
    "RandomProjection",
    "StackedMNISTClassifier",
    "TorchFidelityExtractor",
    "VendiScore",
]
