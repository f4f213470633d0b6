"""Orthonormal weights of the discriminator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize

from gan_modules.penalties.base import LINEAR_LAYERS, Constraint, free_layers


@dataclass(frozen=True)
class Orthonormal(Constraint):
    """Every weight has orthonormal rows, or columns where it is tall, filters as rows (Anil, Lucas and Grosse, 2019).

    Among 1-Lipschitz layers these shrink the least, so that D can reach slope 1, with an activation that keeps the
    gradient's norm ("maxmin" of the MLP). Kept exactly, by torch's Cayley map, in float32 at least: half precision
    rounds what comes of it. A convolution is divided by the square root of its kernel's size, which bounds its slope by
    1 too. A forward solves a linear system in the larger side of each weight: for small networks. An embedding of
    classes (a projection discriminator's), whose rows have no such bound, is refused.
    """

    def prepare(self, discriminator: nn.Module) -> None:
        for name, module in discriminator.named_modules():
            if isinstance(module, nn.Embedding):
                raise ValueError(
                    f"{self}: the layer {name!r} of {type(discriminator).__name__} is an Embedding, whose rows it does "
                    "not bound, nor D then. Use SpectralNorm(), which does, or a discriminator without classes."
                )
        for module in free_layers(discriminator, self, LINEAR_LAYERS, _OrthonormalFilters):
            weight = module.weight
            assert isinstance(weight, Tensor)
            parametrize.register_parametrization(module, "weight", _OrthonormalFilters(weight))


class _OrthonormalFilters(nn.Module):
    """A weight (out, in, *kernel) whose filters are orthonormal, from a matrix (out, in * kernel size)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.shape = weight.shape
        wide = torch.promote_types(weight.dtype, torch.float32)
        matrix = nn.Linear(weight[0].numel(), len(weight), dtype=wide, device=weight.device)
        parametrizations.orthogonal(matrix, orthogonal_map="cayley")
        self.rows: Any = matrix.parametrizations["weight"][0]  # type: ignore[index]
        self.scale = math.sqrt(weight[0, 0].numel())

    def forward(self, matrix: Tensor) -> Tensor:
        wide = torch.promote_types(matrix.dtype, torch.float32)  # half precision solves no linear system
        with torch.autocast(matrix.device.type, enabled=False):
            orthonormal: Tensor = functional_call(self.rows, {"base": self.rows.base.to(wide)}, (matrix.to(wide),))
        return (orthonormal.view(self.shape) / self.scale).to(matrix.dtype)

    def right_inverse(self, weight: Tensor) -> Tensor:
        wide = torch.promote_types(weight.dtype, torch.float32)
        matrix: Tensor = self.rows.right_inverse(weight.flatten(1).to(wide) * self.scale)
        return matrix.to(weight.dtype)
