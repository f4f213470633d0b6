"""Data modules: real samples with a resumable order, shards without padding, and whitening.

`datamodules` imports nothing else of this collection; a data module works with any LightningModule.
"""

from datamodules.base import GANDataModule
from datamodules.cifar10 import CIFAR10DataModule
from datamodules.digits import DigitsDataModule
from datamodules.gaussian import GaussianDataModule
from datamodules.gaussian_mixture import GaussianMixtureDataModule
from datamodules.grid import GridDataModule
from datamodules.hairpin import HairpinDataModule
from datamodules.overlapping_mixture import OverlappingMixtureDataModule
from datamodules.point import PointDataModule
from datamodules.ring import RingDataModule
from datamodules.synthetic import SyntheticDataModule

__all__ = [
    "CIFAR10DataModule",
    "DigitsDataModule",
    "GANDataModule",
    "GaussianDataModule",
    "GaussianMixtureDataModule",
    "GridDataModule",
    "HairpinDataModule",
    "OverlappingMixtureDataModule",
    "PointDataModule",
    "RingDataModule",
    "SyntheticDataModule",
]
