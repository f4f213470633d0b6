"""The penalty of DRAGAN."""

from __future__ import annotations

from dataclasses import dataclass

from gan_modules.penalties.base import Points
from gan_modules.penalties.gradient_penalty import GradientPenalty


@dataclass(frozen=True)
class DRAGANPenalty(GradientPenalty):
    """The gradient penalty around real rows, where WGAN-GP's reaches to the fakes (Kodali et al., 2017).

    Weight, target and perturbation are those of the authors' public code, which takes uniform numbers where the paper
    writes a Gaussian perturbation.
    """

    at: Points = "perturbed"
