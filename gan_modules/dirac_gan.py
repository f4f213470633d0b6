"""The Dirac-GAN: one data point, one generated point, a linear discriminator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.batch import GameBatch, RandomRows
from gan_modules.discriminator_pass import Logits
from gan_modules.dynamics import MatrixJacobian
from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, Minimax
from gan_modules.penalties import R1, R2, Penalty
from gan_modules.rules import Alternating, UpdateRule
from gan_modules.toy_game import ClosedForms

#: values that the noise on a point takes
NOISE_VALUES = 8


class DiracGenerator(nn.Module):
    """The point theta, plus std z."""

    latent_dim = 1

    def __init__(self, theta: float, std: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor([theta], dtype=torch.float64))
        self.std = std

    def forward(self, z: Tensor) -> Tensor:
        return self.theta + self.std * z if self.std else self.theta.expand(len(z), 1)


class DiracDiscriminator(nn.Module):
    """D(x) = psi x."""

    def __init__(self, psi: float) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.tensor([psi], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0] * self.psi


def normal_nodes(n: int) -> Tensor:
    """Equally likely values at quantiles of a normal distribution, symmetric, of variance 1 exactly: (n,), n >= 2."""
    levels = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    nodes = torch.special.erfinv(2 * levels - 1)
    scaled: Tensor = nodes / nodes.square().mean().sqrt()
    return scaled


class DiracGAN(ClosedForms, GANModule):
    """Data at 0, the generator at theta, D(x) = psi x (Mescheder, Geiger and Nowozin, 2018, section 2).

    The smallest GAN, in which every stabiliser's effect is known: eigenvalues at the equilibrium (0, 0) solve
    l^2 + gamma l + f^2 = 0 with the coupling f^2 of the loss and the damping gamma of penalties and instance noise.

    Args:
        loss: any loss; Minimax() if None.
        penalties: any penalties; R1(gamma) and R2(gamma) each add gamma to the damping.
        instance_noise: standard deviation of independent noise on the real and on the generated point, in expectation:
            a batch is all pairs of NOISE_VALUES equally likely values each.
        theta: where the generator starts.
        psi: where the discriminator starts.
        ema_decay: of the averaged generator; 0, for samples of the generator itself, is what a toy is watched by.
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        loss: AdversarialLoss | None = None,
        penalties: Sequence[Penalty] = (),
        instance_noise: float = 0.0,
        theta: float = 1.0,
        psi: float = 0.0,
        ema_decay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if not instance_noise >= 0:
            raise ValueError(f"DiracGAN(instance_noise={instance_noise}): a standard deviation is at least 0.")
        super().__init__(
            DiracGenerator(theta, instance_noise),
            DiracDiscriminator(psi),
            loss=Minimax() if loss is None else loss,
            penalties=penalties,
            ema_decay=ema_decay,
            **kwargs,
        )
        self.instance_noise = instance_noise

    @property
    def position(self) -> Tensor:
        """(theta, psi), detached."""
        return torch.cat([p.detach() for player in self.players for p in player.parameters()])

    def batch(self, index: int | None = 0) -> GameBatch:
        """The data: one point at 0, with every pair of noises where there is noise; ``index`` counts draws."""
        values = normal_nodes(NOISE_VALUES) if self.instance_noise else torch.zeros(1, dtype=torch.float64)
        pairs = torch.cartesian_prod(values, values).view(-1, 2).to(self.device)
        real, z, rows = pairs[:, :1], pairs[:, 1:], len(pairs)
        iteration, draw = (0, -2) if index is None else divmod(index, self.draws)
        random = RandomRows(self.seed, iteration, draw, 0, rows, rows, z.device)
        return GameBatch(self.instance_noise * real, z, random, index=index)

    def game_batch(
        self, real: Tensor, labels: Tensor | None = None, *, iteration: int = 0, draw: int | None = None
    ) -> GameBatch:
        """``batch``, whatever the rows: the data are at 0."""
        return self.batch(None if draw is None else iteration * self.draws + draw)

    def after_iteration(self) -> None:
        super().after_iteration()
        self.record("distance", self.position.norm())

    # --- closed forms ---------------------------------------------------------------------------------------------

    def equilibrium(self) -> Tensor:
        return torch.zeros(2, dtype=torch.float64)

    def slopes(self) -> tuple[float, float]:
        """The slopes at logit 0 of L_G and of L_D in the generated point's logit."""
        fake = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        real = torch.zeros(1, dtype=torch.float64)
        generator, discriminator = self._losses(real, fake)
        return float(torch.autograd.grad(generator, fake)[0]), float(torch.autograd.grad(discriminator, fake)[0])

    def _losses(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        if self.augmentation or self.constraint or self.loss.init() or not self.loss.critic_is_logit:
            given = [self.loss, *self.augmentation, *([self.constraint] if self.constraint else [])]
            raise NotImplementedError(f"The Dirac-GAN has no closed form with {', '.join(map(str, given))}.")
        d: Any = Logits(real, fake)
        return self.loss.generator(d), self.loss.discriminator(d)

    def damping(self) -> float:
        """Gamma: -d v_psi / d psi at the equilibrium.

        Raises:
            NotImplementedError: a penalty without closed form here.
        """
        total = 0.0
        for penalty in self.penalties:
            if not isinstance(penalty, R1 | R2) or isinstance(penalty.gamma, str):
                raise NotImplementedError(f"The Dirac-GAN has no closed form with {penalty}.")
            total += float(penalty.gamma)
        logits = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)
        value = self._losses(logits[0], logits[1])[1]
        (slope,) = torch.autograd.grad(value, logits, create_graph=True)
        if self.instance_noise and slope.requires_grad:
            # E L_D(psi xi, psi (theta + xi')) with independent noises xi: second derivative std^2 (d^2/dr^2 + d^2/dt^2)
            curvature = [torch.autograd.grad(slope[i, 0], logits, retain_graph=True)[0][i, 0] for i in range(2)]
            total += self.instance_noise**2 * float(curvature[0] + curvature[1])
        return total

    def closed_form_jacobian(self) -> MatrixJacobian:
        a, b = self.slopes()
        matrix = torch.tensor([[0.0, -a], [-b, -self.damping()]], dtype=torch.float64)
        return MatrixJacobian(matrix, (1, 1))

    def stability_limit(self, rule: UpdateRule) -> float:
        """As ClosedForms; alternating: a flip at h* = (-gamma + sqrt(gamma^2 + 4 f^2)) / f^2, or h f = 2 undamped."""
        if isinstance(rule, Alternating) and rule.n_critic == 1:
            a, b = self.slopes()
            gamma, f2 = self.damping(), -a * b
            return 4 / (gamma + math.sqrt(gamma**2 + 4 * f2))  # the same without 0 / 0 where f = 0
        return super().stability_limit(rule)
