"""The LeCam regulariser."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.penalties.base import Penalty


@dataclass(frozen=True)
class LeCam(Penalty):
    """weight * (E (D(x) - a_F)^2 + E (D(G(z)) - a_R)^2), a_R and a_F moving averages of D (Tseng et al., 2021).

    Keeps D's answers to real and fake rows together; with the WGAN loss the value is a LeCam divergence. Made for
    little data. As in the paper; its code counts D(x) - a_F and a_R - D(G(z)) only where they are positive. The
    averages start at the first draw's means; on that draw the penalty is 0.

    Args:
        weight: the paper's lambda; 0.3 is that of its BigGAN on CIFAR-10.
        decay: of the averages, a draw; in [0, 1).
    """

    weight: float = 0.3
    decay: float = 0.99

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or not self.weight >= 0:
            raise ValueError(f"LeCam(weight={self.weight}, decay={self.decay}): weight at least 0, decay in [0, 1).")

    def init(self) -> Memory:
        return {"real": torch.zeros(()), "fake": torch.zeros(()), "draws": torch.zeros((), dtype=torch.int64)}

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        real, fake = d.memory["real"], d.memory["fake"]
        value = (d.real_logits - fake).square().mean() + (d.fake_logits - real).square().mean()
        return self.weight * value * (d.memory["draws"] > 0)

    def update(self, d: DiscriminatorPass) -> Memory:
        means = {"real": d.mean(d.real_logits).mean(), "fake": d.mean(d.fake_logits).mean()}
        started = d.memory["draws"] > 0
        averages = {
            name: torch.where(started, torch.lerp(mean.to(d.memory[name]), d.memory[name], self.decay), mean)
            for name, mean in means.items()
        }
        return averages | {"draws": d.memory["draws"] + 1}
