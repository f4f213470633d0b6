"""Invertible affine maps fitted on data: better conditioning for the game, and back to data space for samples."""

from datamodules.whitening.base import Whitening
from datamodules.whitening.identity import Identity
from datamodules.whitening.rescale import Rescale
from datamodules.whitening.standardize import Standardize
from datamodules.whitening.zca import ZCAWhitening

__all__ = ["Identity", "Rescale", "Standardize", "Whitening", "ZCAWhitening"]
