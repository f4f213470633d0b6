"""Adversarial losses: pure functions of logits."""

from gan_modules.losses.base import AdversarialLoss
from gan_modules.losses.hinge import Hinge
from gan_modules.losses.least_squares import LeastSquares
from gan_modules.losses.minimax import Minimax
from gan_modules.losses.non_saturating import NonSaturating
from gan_modules.losses.relativistic_pairing import RelativisticPairing
from gan_modules.losses.wasserstein import Wasserstein

__all__ = [
    "AdversarialLoss",
    "Hinge",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "RelativisticPairing",
    "Wasserstein",
]
