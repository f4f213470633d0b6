"""Callbacks that say how a game is going."""

from callbacks.collapse_alarm import CollapseAlarm
from callbacks.curvature_spectrum import CurvatureSpectrum
from callbacks.diagnosis import Diagnosis
from callbacks.diagnostic import Diagnostic
from callbacks.game_spectrum import GameSpectrum
from callbacks.gradient_health import GradientHealth
from callbacks.run_summary import RunSummary
from callbacks.sample_grid import SampleGrid
from callbacks.sample_metrics import SampleMetrics
from callbacks.validation_budget import ValidationBudget
from callbacks.weight_spectrum import WeightSpectrum

__all__ = [
    "CollapseAlarm",
    "CurvatureSpectrum",
    "Diagnosis",
    "Diagnostic",
    "GameSpectrum",
    "GradientHealth",
    "RunSummary",
    "SampleGrid",
    "SampleMetrics",
    "ValidationBudget",
    "WeightSpectrum",
]
