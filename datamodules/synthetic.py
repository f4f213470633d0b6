"""What data sets drawn from a known distribution share."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from datamodules.base import GANDataModule, Split
from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.truth import Truth


class SyntheticDataModule(GANDataModule):
    """Samples of a distribution that is known exactly; labels are the modes they were drawn from.

    A data set is a constructor that builds its distribution: `super().__init__(GaussianMixture(...), **kwargs)`.

    Args:
        truth: the distribution.
        train_size: number of training samples.
        val_size: number of validation samples.
        test_size: number of test samples.
        data_seed: of the samples, a function of the class, data_seed and split; `seed` only orders them.
        **kwargs: those of GANDataModule.

    Raises:
        ValueError: a number that is not positive.
    """

    def __init__(
        self,
        truth: Truth,
        *,
        train_size: int = 100_000,
        val_size: int = 2_500,
        test_size: int = 2_500,
        data_seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_positive(train_size=train_size, val_size=val_size, test_size=test_size)
        self._truth, self._data_seed = truth, data_seed
        self._sizes: dict[Split, int] = {"train": train_size, "val": val_size, "test": test_size}

    @property
    def shape(self) -> tuple[int, ...]:
        """Points of the plane, of space, ..."""
        return (self._truth.dimension,)

    @property
    def num_classes(self) -> int | None:
        """Number of modes."""
        return self._truth.num_modes

    @property
    def truth(self) -> Truth:
        """The distribution the samples are drawn from."""
        return self._truth

    def load(self, split: Split) -> tuple[Tensor, Tensor | None]:
        """Return points (N, d) float32 and modes (N,)."""
        name = type(self).__name__.removesuffix("DataModule").lower()
        samples, modes = self._truth.sample(self._sizes[split], keyed_generator(name, self._data_seed, split))
        return samples.float(), modes
