"""The ring of Gaussians on which mode collapse is measured."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from datamodules.base import GANDataModule, Split
from datamodules.checks import require_positive
from datamodules.gaussian_mixture import GaussianMixture
from datamodules.seeding import keyed_generator


class RingDataModule(GANDataModule):
    """Equally weighted Gaussians at equal angles on a circle in the plane; labels are mode indices.

    Defaults follow Lin et al., "PacGAN", 2018: 8 modes, radius 1, std .01, 100,000 training samples and 2,500 to
    evaluate on. `truth` is the mixture itself.

    Args:
        modes: number of Gaussians, at angles 2 pi k / modes: the end point, which is the first mode again, is left out.
        radius: of the circle.
        std: of every Gaussian, in the units of radius.
        train_size: number of training samples.
        val_size: number of validation samples.
        test_size: number of test samples.
        data_seed: of the samples; `seed` only orders them.
        **kwargs: those of GANDataModule.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(
        self,
        *,
        modes: int = 8,
        radius: float = 1.0,
        std: float = 0.01,
        train_size: int = 100_000,
        val_size: int = 2_500,
        test_size: int = 2_500,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_positive(modes=modes, radius=radius, std=std)
        require_positive(train_size=train_size, val_size=val_size, test_size=test_size)
        angles = torch.arange(modes, dtype=torch.float64) * (2 * math.pi / modes)
        self._truth = GaussianMixture(radius * torch.stack([angles.cos(), angles.sin()], 1), std)
        self._sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}
        self._data_seed = data_seed

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of the plane."""
        return (2,)

    @property
    def num_classes(self) -> int | None:
        """Number of modes."""
        return self._truth.num_modes

    @property
    def truth(self) -> GaussianMixture:
        """The mixture the samples are drawn from."""
        return self._truth

    def load(self, split: Split) -> tuple[Tensor, Tensor | None]:
        """Return points (N, 2) float32 and modes (N,), a function of (data_seed, split)."""
        samples, modes = self._truth.sample(self._sizes[split], keyed_generator("ring", self._data_seed, split))
        return samples.float(), modes
