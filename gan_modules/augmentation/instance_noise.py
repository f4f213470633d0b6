"""Instance noise."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gan_modules.augmentation.base import RowAugmentation
from gan_modules.batch import RandomRows
from gan_modules.discriminator_pass import Memory


@dataclass(frozen=True)
class InstanceNoise(RowAugmentation):
    """Gaussian noise on what D sees of real and fake rows (Sonderby et al., 2017; Arjovsky and Bottou, 2017).

    The two distributions then overlap, and on the Dirac-GAN it is R1 with gamma = std^2 / 2.

    Args:
        std: standard deviation at the first iteration, in units of training space.
        end_std: at iteration ``iterations`` and later, linearly in between; as ``std`` if None.
        iterations: length of the schedule, at least 1.
    """

    std: float = 0.1
    end_std: float | None = None
    iterations: int = 10_000

    def __post_init__(self) -> None:
        for name, value in {"std": self.std, "end_std": self.end_std or 0.0}.items():
            if not value >= 0:
                raise ValueError(f"InstanceNoise({name}={value}): a standard deviation is at least 0.")
        if self.iterations < 1:
            raise ValueError(f"InstanceNoise(iterations={self.iterations}): must be at least 1.")

    def std_at(self, iteration: int) -> float:
        """The standard deviation at an iteration."""
        if self.end_std is None:
            return self.std
        done = min(max(iteration, 0) / self.iterations, 1.0)
        return self.std + (self.end_std - self.std) * done

    def apply(self, x: Tensor, random: RandomRows, memory: Memory) -> Tensor:
        std = self.std_at(random.iteration)
        return x + std * random.normal("noise", tuple(x.shape[1:])).to(x.dtype) if std else x
