"""Metrics of generated samples, as torchmetrics on features, modes or samples, and the extractors of features."""

from callbacks.metrics.authenticity import Authenticity
from callbacks.metrics.birthday_test import BirthdayTest
from callbacks.metrics.class_conditional_fid import ClassConditionalFID
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
from callbacks.metrics.frechet_infinity import FrechetInfinity
from callbacks.metrics.geodesic_coverage import GeodesicCoverage
from callbacks.metrics.inception_score import InceptionScore
from callbacks.metrics.kernel_distance import KernelDistance
from callbacks.metrics.manifold_collapse import ManifoldCollapse
from callbacks.metrics.mode_coverage import ModeCoverage
from callbacks.metrics.ms_ssim_diversity import MSSSIMDiversity
from callbacks.metrics.number_of_different_bins import NumberOfDifferentBins
from callbacks.metrics.power_spectrum import PowerSpectrum
from callbacks.metrics.precision_recall_density_coverage import PrecisionRecallDensityCoverage
from callbacks.metrics.vendi_score import VendiScore

__all__ = [
    "Authenticity",
    "BirthdayTest",
    "ClassConditionalFID",
    "Classifier",
    "DigitsClassifier",
    "Extractor",
    "FrechetDistance",
    "FrechetInfinity",
    "GeodesicCoverage",
    "InceptionScore",
    "InceptionV3",
    "KernelDistance",
    "MNISTClassifier",
    "MSSSIMDiversity",
    "ManifoldCollapse",
    "ModeCoverage",
    "ModuleClassifier",
    "ModuleExtractor",
    "NumberOfDifferentBins",
    "Pixels",
    "PowerSpectrum",
    "PrecisionRecallDensityCoverage",
    "RandomProjection",
    "StackedMNISTClassifier",
    "TorchFidelityExtractor",
    "VendiScore",
]
