"""Spectral normalisation of the discriminator."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrizations import _SpectralNorm

from gan_modules.penalties.base import LINEAR_LAYERS, Constraint, free_layers


@dataclass(frozen=True)
class SpectralNorm(Constraint):
    """Every weight divided by its largest singular value, filters as rows (Miyato et al., 2018, section 2.1).

    By torch's parametrization. A linear layer then has slope 1, and more only by what the power iteration, which goes
    on at each forward in training, lags behind the weights. A convolution's slope can exceed 1, up to the square root
    of its kernel's size, as in the paper. First derivatives are exact where the iteration has converged; in second ones
    the singular vectors are constants. Layers that have it already keep theirs.

    Args:
        power_iterations: of a forward in training, at least 1.
    """

    power_iterations: int = 1

    def __post_init__(self) -> None:
        if self.power_iterations < 1:
            raise ValueError(f"SpectralNorm(power_iterations={self.power_iterations}): must be at least 1.")

    def prepare(self, discriminator: nn.Module) -> None:
        for module in free_layers(discriminator, self, (*LINEAR_LAYERS, nn.Embedding), _SpectralNorm):
            parametrizations.spectral_norm(module, n_power_iterations=self.power_iterations)
