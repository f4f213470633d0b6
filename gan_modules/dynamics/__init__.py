"""What a game does: its field, Jacobian, spectra, and whether an update rule converges on it."""

from gan_modules.dynamics.arnoldi import Ritz, arnoldi
from gan_modules.dynamics.jacobian import GameJacobian, NotTwiceDifferentiableError
from gan_modules.dynamics.linear_game import LinearGame
from gan_modules.dynamics.linear_optimizer import Recurrence, recurrence, recurrence_of_group
from gan_modules.dynamics.matrix_jacobian import MatrixJacobian, dense, times
from gan_modules.dynamics.operator import UpdateOperator
from gan_modules.dynamics.play import OptimizerHandle, Play, gradient_descent, no_data
from gan_modules.dynamics.singular_values import LINEAR_LAYERS, leading_singular_values
from gan_modules.dynamics.spectrum import spectrum
from gan_modules.dynamics.stability import Stability, stability
from gan_modules.dynamics.total_hessian import NegativeCurvatureError, TotalHessian

__all__ = [
    "LINEAR_LAYERS",
    "GameJacobian",
    "LinearGame",
    "MatrixJacobian",
    "NegativeCurvatureError",
    "NotTwiceDifferentiableError",
    "OptimizerHandle",
    "Play",
    "Recurrence",
    "Ritz",
    "Stability",
    "TotalHessian",
    "UpdateOperator",
    "arnoldi",
    "dense",
    "gradient_descent",
    "leading_singular_values",
    "no_data",
    "recurrence",
    "recurrence_of_group",
    "spectrum",
    "stability",
    "times",
]
