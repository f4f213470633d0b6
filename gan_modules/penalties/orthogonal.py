"""Orthogonal regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties.base import LINEAR_LAYERS, Penalty


@dataclass(frozen=True)
class Orthogonal(Penalty):
    """weight * sum ||W W^T * (1 - I)||_F^2 over D's weights, filters as rows (Brock et al., 2019, eq. 3).

    Filters are kept at right angles while their lengths stay free; with ``lengths`` ||W W^T - I||_F^2, which draws
    these to 1 as well (their eq. 2, after Brock et al., 2017). A matrix with more rows than columns, whose rows can't
    all be at right angles, is taken by its columns. Weights are those that the layers use, parametrised ones as they
    come out. Does not bound the slope of D. (The papers have it on the generator too, which a penalty doesn't see.)

    Args:
        weight: the paper's beta.
        lengths: whether the lengths are drawn to 1.
    """

    weight: float = 1e-4
    lengths: bool = False

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"Orthogonal(weight={self.weight}): must be at least 0.")

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        weights = [module.weight for module in d.discriminator.modules() if isinstance(module, LINEAR_LAYERS)]
        if not weights:
            raise ValueError(f"{self}: {type(d.discriminator).__name__} has no linear or convolutional layer.")
        with torch.autocast(d.real.device.type, enabled=False):
            return self.weight * torch.stack([self._excess(weight.flatten(1)) for weight in weights]).sum()

    def _excess(self, matrix: Tensor) -> Tensor:
        rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        gram = rows @ rows.T
        identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return (gram - identity if self.lengths else gram * (1 - identity)).square().sum()
