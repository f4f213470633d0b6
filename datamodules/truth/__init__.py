"""Distributions known exactly: log-density, mode of a sample, sampler, and what a perfect sampler would score."""

from datamodules.truth.base import Floors, Truth
from datamodules.truth.gaussian_mixture import GaussianMixture
from datamodules.truth.hairpin import Hairpin
from datamodules.truth.manifold import ManifoldTruth
from datamodules.truth.sphere import Sphere
from datamodules.truth.swiss_roll import SwissRoll
from datamodules.truth.torus import Torus

__all__ = ["Floors", "GaussianMixture", "Hairpin", "ManifoldTruth", "Sphere", "SwissRoll", "Torus", "Truth"]
