"""Data modules: real samples with a resumable order, shards without padding, and whitening.

`datamodules` imports nothing else of this collection; a data module works with any LightningModule.
"""

from datamodules.base import GANDataModule
from datamodules.digits import DigitsDataModule
from datamodules.point import PointDataModule
from datamodules.ring import RingDataModule

__all__ = ["DigitsDataModule", "GANDataModule", "PointDataModule", "RingDataModule"]
