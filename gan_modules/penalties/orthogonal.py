"""Orthogonal regularisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.penalties.base import Penalty


@dataclass(frozen=True)
class Orthogonal(Penalty):
    """weight * sum ||W W^T * (1 - I)||_F^2 over D's weights, filters as rows (Brock et al., 2019, eq. 3).

    Filters are kept at right angles while their lengths stay free; with ``lengths`` ||W W^T - I||_F^2, which draws
    these to 1 as well (Brock et al., 2017). A matrix with more rows than columns is taken by its columns. Neither
    bounds the slope of D.

    Args:
        weight: the paper's beta.
        lengths: whether the lengths are drawn to 1.
    """

    weight: float = 1e-4
    lengths: bool = False

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
        weights = [module.weight for module in d.discriminator.modules() if isinstance(module, layers)]
        if not weights:
            raise ValueError(f"Orthogonal: {type(d.discriminator).__name__} has no linear or convolutional layer.")
        return self.weight * torch.stack([self._excess(weight.flatten(1)) for weight in weights]).sum()

    def _excess(self, matrix: Tensor) -> Tensor:
        rows = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        gram = rows @ rows.T
        identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        return (gram - identity if self.lengths else gram * (1 - identity)).square().sum()
