"""Data modules: real samples with a resumable order, shards without padding, and whitening.

`datamodules` imports nothing else of this collection; a data module works with any LightningModule.
"""

from datamodules.array import ArrayDataModule
from datamodules.base import GANDataModule
from datamodules.cifar10 import CIFAR10DataModule
from datamodules.cifar100 import CIFAR100DataModule
from datamodules.digits import DigitsDataModule
from datamodules.fashion_mnist import FashionMNISTDataModule
from datamodules.gaussian import GaussianDataModule
from datamodules.gaussian_mixture import GaussianMixtureDataModule
from datamodules.grid import GridDataModule
from datamodules.hairpin import HairpinDataModule
from datamodules.image import ImageDataModule
from datamodules.image_folder import ImageFolderDataModule
from datamodules.kmnist import KMNISTDataModule
from datamodules.mnist import MNISTDataModule
from datamodules.overlapping_mixture import OverlappingMixtureDataModule
from datamodules.point import PointDataModule
from datamodules.ring import RingDataModule
from datamodules.sphere import SphereDataModule
from datamodules.stacked_mnist import StackedMNISTDataModule
from datamodules.swiss_roll import SwissRollDataModule
from datamodules.synthetic import SyntheticDataModule
from datamodules.torchvision import TorchvisionDataModule
from datamodules.torus import TorusDataModule

__all__ = [
    "ArrayDataModule",
    "CIFAR100DataModule",
    "CIFAR10DataModule",
    "DigitsDataModule",
    "FashionMNISTDataModule",
    "GANDataModule",
    "GaussianDataModule",
    "GaussianMixtureDataModule",
    "GridDataModule",
    "HairpinDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "KMNISTDataModule",
    "MNISTDataModule",
    "OverlappingMixtureDataModule",
    "PointDataModule",
    "RingDataModule",
    "StackedMNISTDataModule",
    "SphereDataModule",
    "SwissRollDataModule",
    "SyntheticDataModule",
    "TorusDataModule",
    "TorchvisionDataModule",
]
