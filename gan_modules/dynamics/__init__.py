"""What a game does: its field, Jacobian, spectra, and whether an update rule converges on it."""

from gan_modules.dynamics.arnoldi import Ritz, arnoldi
from gan_modules.dynamics.generator_jacobian import generator_singular_values
from gan_modules.dynamics.jacobian import GameJacobian, NotTwiceDifferentiableError
from gan_modules.dynamics.lanczos import SpectralDensity, SymmetricRitz, hessian_block, lanczos, spectral_density
from gan_modules.dynamics.layer_spectrum import LayerSpectrum, frobenius_norm, layer_spectrum, spectrum_operations
from gan_modules.dynamics.linear_game import LinearGame
from gan_modules.dynamics.linear_optimizer import Recurrence, recurrence, recurrence_of_group
from gan_modules.dynamics.lipschitz import Trace, lipschitz_bound, measured_slope
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
    "LayerSpectrum",
    "LinearGame",
    "MatrixJacobian",
    "NegativeCurvatureError",
    "NotTwiceDifferentiableError",
    "OptimizerHandle",
    "Play",
    "Recurrence",
    "Ritz",
    "SpectralDensity",
    "Stability",
    "SymmetricRitz",
    "TotalHessian",
    "Trace",
    "UpdateOperator",
    "arnoldi",
    "dense",
    "frobenius_norm",
    "generator_singular_values",
    "gradient_descent",
    "hessian_block",
    "lanczos",
    "layer_spectrum",
    "leading_singular_values",
    "lipschitz_bound",
    "measured_slope",
    "no_data",
    "recurrence",
    "recurrence_of_group",
    "spectral_density",
    "spectrum",
    "spectrum_operations",
    "stability",
    "times",
]
