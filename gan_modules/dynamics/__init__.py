"""Spectra of layers and games."""

from gan_modules.dynamics.singular_values import LINEAR_LAYERS, leading_singular_values

__all__ = ["LINEAR_LAYERS", "leading_singular_values"]
