"""Gaussians that overlap as much as asked: between them no sample is surely wrong."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch

from datamodules.checks import require_positive
from datamodules.synthetic import SyntheticDataModule
from datamodules.truth import GaussianMixture


class OverlappingMixtureDataModule(SyntheticDataModule):
    """Equal Gaussians in the plane, each overlapping its neighbours; labels are the modes that samples were drawn from.

    The overlap coefficient of two densities is the integral of the lesser, 1 less their total variation distance: 1 for
    equal ones. Two Gaussians delta std apart have 2 Phi(-delta / 2) (Inman and Bradley, 1989), and Bayes' rule takes
    half of it for the other one; so where modes overlap `truth.assign` differs from labels, by at most `overlap` of the
    samples beside the 1.1 % and less that it gives to no mode.

    Beyond 2 Phi(-1) = .317, where delta is 2, two neighbours have no valley between them but a common maximum; labels,
    weights and `num_modes` remain those of the components (`truth.valley` is the density of the valley).

    On a ring, or for two modes, `truth.floors` are right at any overlap, by symmetry. A longer line's end modes are
    assigned more than its middle ones, which `Floors.mode_kl` leaves out: 1e-4 nats on 8 modes at an overlap of .5.

    Args:
        overlap: overlap coefficient of neighbours, in (0, 1).
        modes: number of Gaussians, at least 2.
        arrangement: "ring", at equal angles around the origin, or "line", along the first axis.
        std: of every Gaussian; neighbours lie -2 Phi^-1(overlap / 2) std apart.
        **kwargs: those of SyntheticDataModule.

    Raises:
        ValueError: an overlap outside (0, 1), less than 2 modes, an unknown arrangement, or a std that is not positive.
    """

    def __init__(
        self,
        *,
        overlap: float = 0.1,
        modes: int = 8,
        arrangement: Literal["ring", "line"] = "ring",
        std: float = 0.1,
        **kwargs: Any,
    ) -> None:
        require_positive(std=std)
        if not 0 < overlap < 1:
            raise ValueError(f"overlap must lie between 0 and 1, got {overlap}")
        if modes < 2:
            raise ValueError(f"modes must be at least 2, got {modes}; GaussianDataModule has one")
        index = torch.arange(modes, dtype=torch.float64)
        if arrangement == "ring":
            angles = index * (2 * math.pi / modes)
            places = torch.stack([angles.cos(), angles.sin()], 1) / (2 * math.sin(math.pi / modes))
        elif arrangement == "line":
            places = torch.stack([index - (modes - 1) / 2, torch.zeros(modes, dtype=torch.float64)], 1)
        else:
            raise ValueError(f'arrangement must be "ring" or "line", got {arrangement!r}')
        distance = -2 * float(torch.special.ndtri(torch.tensor(overlap / 2, dtype=torch.float64)))
        super().__init__(GaussianMixture(std * distance * places, std), **kwargs)
