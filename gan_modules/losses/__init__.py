"""Adversarial losses: pure functions of the discriminator's pass."""

from gan_modules.losses.base import AdversarialLoss
from gan_modules.losses.bounded import Bounded
from gan_modules.losses.feature_matching import FeatureMatching
from gan_modules.losses.fisher_ball import FisherBall
from gan_modules.losses.function_class import FunctionClass
from gan_modules.losses.hinge import Hinge
from gan_modules.losses.kernel_ball import KernelBall
from gan_modules.losses.kernels import GaussianKernel, Kernel, RationalQuadraticKernel
from gan_modules.losses.least_squares import LeastSquares
from gan_modules.losses.lipschitz import Lipschitz
from gan_modules.losses.mean_features import MeanFeatures
from gan_modules.losses.mean_square_ball import MeanSquareBall
from gan_modules.losses.minimax import Minimax
from gan_modules.losses.non_saturating import NonSaturating
from gan_modules.losses.relativistic_average import RelativisticAverage
from gan_modules.losses.relativistic_pairing import RelativisticPairing
from gan_modules.losses.sobolev_ball import SobolevBall
from gan_modules.losses.wasserstein import Wasserstein

__all__ = [
    "AdversarialLoss",
    "Bounded",
    "FeatureMatching",
    "FisherBall",
    "FunctionClass",
    "GaussianKernel",
    "Hinge",
    "Kernel",
    "KernelBall",
    "LeastSquares",
    "Lipschitz",
    "MeanFeatures",
    "MeanSquareBall",
    "Minimax",
    "NonSaturating",
    "RationalQuadraticKernel",
    "RelativisticAverage",
    "RelativisticPairing",
    "SobolevBall",
    "Wasserstein",
]
