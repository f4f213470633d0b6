"""The gradient penalty of WGAN-GP and its relatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass, rows_per_logit
from gan_modules.penalties.base import Penalty, Points, norms, squared_norms


@dataclass(frozen=True)
class GradientPenalty(Penalty):
    """weight * E (||grad D(x)|| - target)^2 (Gulrajani et al., 2017, eq. 3); the norm is each logit's own.

    Target 0 is zero-centred (Thanh-Tung et al., 2019, between real and fake rows; R1 and R2 with weight gamma / 2 at
    either); ``one_sided`` punishes slopes above the target only (Petzka et al., 2018).

    Args:
        weight: the paper's lambda.
        target: the norm that the gradient is kept at.
        one_sided: whether a smaller norm is allowed.
        at: where: "real"; "fake"; "interpolated", at a random point of the line from a fake row to a real one; or
            "perturbed", at one of the line from a real row x to x + spread std u, with u uniform in [0, 1) for each
            number and std that of all numbers of the real batch (the public code of Kodali et al., 2017).
        spread: of "perturbed", at least 0.
    """

    weight: float = 10.0
    target: float = 1.0
    one_sided: bool = False
    at: Points = "interpolated"
    spread: float = 0.5

    def __post_init__(self) -> None:
        if self.at not in get_args(Points):
            raise ValueError(f"GradientPenalty(at={self.at!r}): must be one of {', '.join(get_args(Points))}.")
        for name in ("weight", "target", "spread"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"GradientPenalty({name}={getattr(self, name)}): must be at least 0.")

    @property
    def slope(self) -> tuple[Points, float]:
        return self.at, self.target

    def gradient_at(self, batch: GameBatch) -> frozenset[str]:
        return frozenset({self.at} & {"real", "fake"})

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        gradient = d.gradient(self.at) if self.at in ("real", "fake") else d.gradient_of(self._points(d))
        if self.target == 0:
            return self.weight * squared_norms(gradient).mean()
        excess = norms(gradient) - self.target
        penalty: Tensor = self.weight * (excess.relu() if self.one_sided else excess).square().mean()
        return penalty

    def _points(self, d: DiscriminatorPass) -> Tensor:
        end = d.fake.to(d.real.dtype) if self.at == "interpolated" else self._perturbed(d)
        mix = d.batch.random.uniform("gradient_penalty").to(d.real.dtype)
        k = rows_per_logit(d.discriminator)
        mix = mix[::k].repeat_interleave(k)  # rows that share a logit are one point, which moves on one line
        return torch.lerp(end, d.real, mix.view(-1, *[1] * (d.real.ndim - 1)))

    def _perturbed(self, d: DiscriminatorPass) -> Tensor:
        noise = d.batch.random.uniform("perturbation", tuple(d.real.shape[1:])).to(d.real.dtype)
        centre = d.mean(d.real).mean()
        std = d.mean((d.real - centre).square()).mean().sqrt()
        return d.real + self.spread * std.to(d.real.dtype) * noise
