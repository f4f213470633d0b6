"""Invertible affine maps fitted on data: better conditioning for the game, and back to data space for samples."""

from datamodules.whitening.base import Whitening
from datamodules.whitening.cholesky import CholeskyWhitening
from datamodules.whitening.fourier import FourierWhitening
from datamodules.whitening.identity import Identity
from datamodules.whitening.pca import PCAWhitening
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.rescale import Rescale
from datamodules.whitening.standardize import Standardize
from datamodules.whitening.zca import ZCAWhitening

__all__ = [
    "CholeskyWhitening",
    "FourierWhitening",
    "Identity",
    "PCAWhitening",
    "Rescale",
    "Standardize",
    "Whitening",
    "WhiteningReport",
    "ZCAWhitening",
]
