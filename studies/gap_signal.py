"""What a discriminator of bounded slope can say of a mode that is lost across a gap, and which way it then points.

Real mass p is at each of A and B, |A - B| = d, and all fake mass, 2 p, at B: a mode is lost. The signal S is what the
discriminator's objective gains, by a logit l of slope at most K, over a constant one. It depends on a = l(A) and
b = l(B) alone, every pair with |a - b| <= K d belongs to such a logit, and it grows with a - b. So a = b + K d, and S
is a function of K d: the gap decides, however far apart A and B are along a curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor, nn

from datamodules.truth.flat_manifold import FlatManifold
from datamodules.truth.hairpin import Hairpin
from gan_modules import GANModule
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.losses import AdversarialLoss, NonSaturating, RelativisticPairing, Wasserstein
from gan_modules.networks import MLPDiscriminator
from gan_modules.penalties import Orthonormal
from gan_modules.protocols import DISCRIMINATOR
from studies import critics
from studies.plane import numbers

Array = np.ndarray[Any, np.dtype[np.float64]]


def wasserstein_signal(x: float) -> float:
    """S / p of E_real l - E_fake l: a - b."""
    return x


def logistic_signal(x: float) -> float:
    """S / p of E_real log sigma(l) + E_fake log sigma(-l), the objective of Goodfellow et al., 2014.

    log sigma(b + x) + log sigma(b) + 2 log sigma(-b) + 4 log 2 is largest where q = e^b solves
    2 q^2 - (1 - e^-x) q - 2 e^-x = 0. It starts as x / 2, and ends at 3 log(4/3) = .863.
    """
    y = math.exp(-x)
    q = ((1 - y) + math.sqrt((1 - y) ** 2 + 16 * y)) / 4
    return 4 * math.log(2) - math.log1p(y / q) - math.log1p(1 / q) - 2 * math.log1p(q)


def relativistic_signal(x: float) -> float:
    """S / p of E log sigma(l(real) - l(fake)), where A and B are all there is: it starts as x / 2, and ends at log 2.

    Half of the pairs say a - b, the other half b - b = 0: S = (1/2) log(2 sigma(x)), and p = 1/2.
    """
    return math.log(2) - math.log1p(math.exp(-x))


@dataclass(frozen=True)
class Objective:
    """A discriminator's objective with p = 1/2.

    Attributes:
        signal: S / p at K d, in closed form.
        loss: that the discriminator minimises.
        value: the objective at (a, b), for logits alone.
    """

    signal: Callable[[float], float]
    loss: AdversarialLoss
    value: Callable[[float, float], float]


def _log_sigmoid(x: float) -> float:
    return -float(np.logaddexp(0, -x))


OBJECTIVES = {
    "Wasserstein": Objective(wasserstein_signal, Wasserstein(), lambda a, b: (a + b) / 2 - b),
    "logistic": Objective(
        logistic_signal,
        NonSaturating(),
        lambda a, b: (_log_sigmoid(a) + _log_sigmoid(b)) / 2 + _log_sigmoid(-b),
    ),
    "relativistic": Objective(
        relativistic_signal, RelativisticPairing(), lambda a, b: (_log_sigmoid(a - b) + _log_sigmoid(0)) / 2
    ),
}


def optimum(objective: Objective, slope: float, gap: float, points: int = 9) -> float:
    """S / p by a search over the logits at points from A to B, each within slope times the distance of the next."""
    step = slope * gap / (points - 1)
    found = minimize(
        lambda logits: -objective.value(logits[0], logits[-1]),
        np.zeros(points),
        constraints=[
            {"type": "ineq", "fun": lambda logits, sign=sign: step + sign * np.diff(logits)} for sign in (1, -1)
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return 2 * float(-found.fun - objective.value(0.0, 0.0))


class Scaled(nn.Module):
    """A network times a number."""

    def __init__(self, network: nn.Module, factor: float) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.network(x)
        return logits


def trained_signal(objective: Objective, slope: float, gap: float, seed: int, steps: int) -> float:
    """S / p of a network trained on both points; its layers are orthonormal, so its slope is at most ``slope``."""
    torch.manual_seed(seed)
    network = MLPDiscriminator((2,), width=8, depth=1, activation="maxmin")
    Orthonormal().prepare(network)
    critic = Scaled(network, slope)
    real = torch.tensor([[0.0, 0.0], [0.0, gap]])
    fake = real[[1, 1]]
    critics.train(objective.loss, critic, lambda step: (real, fake), steps, lr=1e-2)
    with torch.no_grad():
        reached = objective.loss.discriminator(critics.looked_at(objective.loss, critic, real, fake))
    return 2 * (-float(reached) - objective.value(0.0, 0.0))


# --- direction --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Displaced:
    """Data in which the generator puts one mode elsewhere on the curve, and is right otherwise.

    Attributes:
        truth: the data.
        mode: that the generator misses.
        place: arc length where its samples are instead.
    """

    truth: FlatManifold
    mode: int
    place: float

    def rows(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Real and fake samples, (n, 2) each, and which fake ones are out of place, (n,) bool."""
        real, _ = self.truth.sample(n, generator)
        fake, modes = self.truth.sample(n, generator)
        centre, there = self.truth.centres[self.mode], torch.tensor([[self.place]]).double()
        moved = modes == self.mode
        along, offset = self._noise(fake, centre)
        points = there + along
        fake[moved] = (self.truth.embed(points) + offset * self.truth.normals(points)[:, 0])[moved]
        return real.float(), fake.float(), moved

    def _noise(self, x: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        foot = self.truth.locate(x)
        normal = self.truth.normals(foot)[:, 0]
        return foot - centre, ((x - self.truth.embed(foot)) * normal).sum(1, keepdim=True)

    def geodesic_direction(self) -> Tensor:
        """Unit vector that leads along the curve from the place to the mode, (2,)."""
        tangent = self.truth.tangents(torch.tensor([[self.place]]).double())[0, 0]
        return tangent * torch.sign(self.truth.centres[self.mode, 0] - self.place)

    def chord_angle(self) -> float:
        """Degrees between that and the straight line to the mode."""
        start = self.truth.embed(torch.tensor([self.place]).double())
        return angle(self.truth.means[self.mode] - start, self.geodesic_direction())


def hairpin(gap: float, modes: int, length: float) -> Hairpin:
    """As HairpinDataModule makes it, of narrow modes and noise in proportion to the gap."""
    return Hairpin(modes, length, gap, 0.03, gap / 12)


def across(gap: float, modes: int, length: float, unrolled: bool = False) -> Displaced:
    """The second mode of the upper sheet, lost to the one across the gap: far from the bend."""
    truth = hairpin(gap, modes, length)
    place = float(truth.centres[1, 0])
    return Displaced(truth.unrolled() if unrolled else truth, 2 * modes - 2, place)


def in_the_bend(gap: float, modes: int, length: float) -> Displaced:
    """The last mode of the lower sheet, lost to the middle of the bend."""
    truth = hairpin(gap, modes, length)
    return Displaced(truth, modes - 1, length + truth.bend / 2)


def angle(a: Tensor, b: Tensor) -> float:
    """Degrees between two vectors."""
    cosine = float(a.double() @ b.double() / (a.norm() * b.norm()))
    return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))


def pointed(
    case: Displaced, game_of: Callable[..., GANModule], seed: int, steps: int, rows: int, lr: float = 3e-3
) -> tuple[float, float]:
    """Degrees from the geodesic direction to where a trained discriminator sends what is out of place, and how hard.

    How hard is the norm of the mean gradient of D's logit over those samples.
    """
    torch.manual_seed(seed)
    game = game_of(nn.Identity(), MLPDiscriminator((2,), width=64, depth=3), latent_dim=2, ema_decay=0.0)
    optimizer = torch.optim.Adam(game.discriminator.parameters(), lr, (0.0, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        real, fake, _ = case.rows(rows, numbers("displaced", seed, step))
        random = RandomRows(seed, step, 0, 0, rows, rows, real.device)
        loss = game.player_loss(DISCRIMINATOR, GameBatch(real, fake, random, index=step))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    _, fake, moved = case.rows(20 * rows, numbers("displaced, judged"))
    points = fake[moved].requires_grad_()
    (gradient,) = torch.autograd.grad(game.discriminator(points).sum(), points)
    mean = gradient.mean(0)
    return angle(mean, case.geodesic_direction()), float(mean.norm())
