"""What keeps a discriminator regular: penalties in its loss, constraints on its parameters."""

from gan_modules.penalties.base import Constraint, Penalty
from gan_modules.penalties.consistency import Consistency
from gan_modules.penalties.dragan import DRAGANPenalty
from gan_modules.penalties.feature_matching import FeatureMatchingTerm
from gan_modules.penalties.gradient_penalty import GradientPenalty
from gan_modules.penalties.lazy import LazyPenalty
from gan_modules.penalties.lecam import LeCam
from gan_modules.penalties.orthogonal import Orthogonal
from gan_modules.penalties.orthonormal import Orthonormal
from gan_modules.penalties.r1 import R1
from gan_modules.penalties.r2 import R2
from gan_modules.penalties.spectral_norm import SpectralNorm
from gan_modules.penalties.weight_clipping import WeightClipping

__all__ = [
    "Consistency",
    "Constraint",
    "DRAGANPenalty",
    "FeatureMatchingTerm",
    "GradientPenalty",
    "LazyPenalty",
    "LeCam",
    "Orthogonal",
    "Orthonormal",
    "Penalty",
    "R1",
    "R2",
    "SpectralNorm",
    "WeightClipping",
]
