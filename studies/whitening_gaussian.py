"""GANs between Gaussians that differ in location only, in any training space: what conditioning costs in steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import SGD

from datamodules.seeding import keyed_generator
from datamodules.whitening import Identity, Standardize, Whitening, ZCAWhitening
from gan_modules.batch import GameBatch
from gan_modules.dynamics import GameJacobian, MatrixJacobian, Play, dense, stability
from gan_modules.protocols import GENERATOR
from gan_modules.rules import Alternating, Simultaneous, UpdateRule
from gan_modules.toy_game import ToyGame
from studies.kept import kept

Array = np.ndarray[Any, np.dtype[np.float64]]
RULES: dict[str, UpdateRule] = {"simultaneous": Simultaneous(), "alternating": Alternating()}
DIMENSION = 32
#: rows that a whitening is fitted on, as a user fits it
FITTED_ON = 20_000
#: size of the whole state, generator and discriminator, at the start: small, for the best rate of a linear game may be
#: past what a game takes far from its equilibrium
START = 1e-2
#: share of it below which a game has converged
TARGET = 1e-3
#: iterations that are worth keeping once they are played
LONG = 20_000


@dataclass(frozen=True)
class Arm:
    """How a data set is trained on.

    Attributes:
        name: for tables.
        whitening: of the data, fitted on samples.
        damped: with R1 by direction, gamma_i = 1 - s_i / 2: damping alike in all, conditioning as it is.
        rotated: whether the covariance's axes are turned at random, or those of the data.
    """

    name: str
    whitening: type[Whitening] = Identity
    damped: bool = False
    rotated: bool = True


RAW, WHITENED = Arm("raw"), Arm("whitened", ZCAWhitening)
STANDARDISED = Arm("standardised", Standardize)
DAMPED = Arm("raw, R1 by direction", damped=True)
ALIGNED = Arm("standardised, axes aligned", Standardize, rotated=False)
ARMS = (RAW, STANDARDISED, WHITENED, DAMPED, ALIGNED)


class LocationGAN(ToyGame):
    """R games at once: data N(m, S), G(z) = theta + S^(1/2) z, D(x) = psi^T x, logistic loss.

    Both Gaussians are given by the same rows, a cubature of them. Near the equilibrium, with second moments M = S +
    m m^T and penalty (1/2) psi^T Gamma psi of the discriminator, theta' = psi / 2 and psi' = -theta / 2 -
    (M / 2 + Gamma) psi: the data's variance s damps as R1 with gamma = s / 2 does.

    Args:
        rows: of data, (R, n, d).
        rates: of each game, (R,): factors on its losses, so that gradient descent at rate 1 moves each at its own.
        penalty: Gamma, (R, d, d).
        start: displacement from the equilibrium, (2, R, d): the generators', then the discriminators'; 0 if None.
    """

    centred: Tensor
    mean: Tensor
    rates: Tensor
    penalty: Tensor

    def __init__(self, rows: Tensor, rates: Tensor, penalty: Tensor, start: Tensor | None = None) -> None:
        games, _, d = rows.shape
        mean = rows.mean(1)
        at = torch.stack([mean, torch.zeros_like(mean)])
        super().__init__(at if start is None else at + start, (games * d, games * d))
        for name, value in {"centred": rows - mean[:, None], "mean": mean, "rates": rates, "penalty": penalty}.items():
            self.register_buffer(name, value, persistent=False)

    def loss(self, player: int, u: Tensor, v: Tensor) -> Tensor:
        theta, psi = u.view_as(self.mean), v.view_as(self.mean)
        real, fake = self._logits(theta, psi)
        if player == GENERATOR:
            return softplus(-fake).mean(1) @ self.rates  # -log sigmoid D(G(z))
        quadratic = 0.5 * (_times(self.penalty, psi) * psi).sum(1)
        return (softplus(-real).mean(1) + softplus(fake).mean(1) + quadratic) @ self.rates

    def _logits(self, theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
        spread = _times(self.centred, psi)
        return (self.mean * psi).sum(1, keepdim=True) + spread, (theta * psi).sum(1, keepdim=True) + spread

    @torch.no_grad()
    def gradient(self, player: int, batch: GameBatch, *, shared: bool = False) -> None:
        """That of ``loss``, by hand: half a million iterations are played, and autograd takes most of each."""
        theta, psi = self.first.x.view_as(self.mean), self.second.x.view_as(self.mean)
        real, fake = self._logits(theta, psi)
        if player == GENERATOR:
            gradient = (fake.sigmoid().mean(1, keepdim=True) - 1) * psi  # softplus'(x) = sigmoid(x) = 1 - sigmoid(-x)
        else:
            of_real, of_fake = (real.sigmoid() - 1) / real.shape[1], fake.sigmoid() / fake.shape[1]
            gradient = of_real.sum(1, keepdim=True) * self.mean + of_fake.sum(1, keepdim=True) * theta
            gradient += _times(self.centred.mT, of_real + of_fake) + _times(self.penalty, psi)
        self.players[player].x.grad = (self.rates[:, None] * gradient).flatten()

    def equilibrium(self) -> Tensor:
        return torch.cat([self.mean.flatten(), torch.zeros_like(self.mean).flatten()])

    def closed_form_jacobian(self) -> MatrixJacobian:
        moments = self.centred.mT @ self.centred / self.centred.shape[1] + self.mean[:, :, None] * self.mean[:, None]
        rates = self.rates.repeat_interleave(self.mean.shape[1])
        damping: Tensor = torch.block_diag(*(moments / 2 + self.penalty))  # type: ignore[no-untyped-call]
        half = torch.eye(len(rates), dtype=torch.float64) / 2
        matrix = torch.cat([torch.cat([torch.zeros_like(half), half], 1), torch.cat([-half, -damping], 1)])
        return MatrixJacobian(torch.cat([rates, rates])[:, None] * matrix, (len(rates), len(rates)))

    def distances(self) -> Tensor:
        """Of each game's state from its equilibrium, (R,)."""
        theta, psi = (player.x.detach().view_as(self.mean) for player in (self.first, self.second))
        return ((theta - self.mean).square() + psi.square()).sum(1).sqrt()


def _times(matrices: Tensor, vectors: Tensor) -> Tensor:
    return torch.bmm(matrices, vectors[:, :, None])[:, :, 0]


def data_set(arm: Arm, condition: float, seed: int) -> tuple[Tensor, Tensor]:
    """Rows (2 d, d) whose mean and covariance are the data's, in the arm's training space, and its Gamma (d, d).

    In data space N(0, U diag(s) U^T) with s log-uniform from 1 down to 1 / condition, U random by the seed.
    """
    numbers = keyed_generator("whitening", seed)
    turned = torch.linalg.qr(torch.randn(DIMENSION, DIMENSION, generator=numbers, dtype=torch.float64))[0]
    axes = turned if arm.rotated else torch.eye(DIMENSION, dtype=torch.float64)
    variances = torch.logspace(0, -math.log10(condition), DIMENSION, dtype=torch.float64)
    samples = torch.randn(FITTED_ON, DIMENSION, generator=numbers, dtype=torch.float64)
    whitening = arm.whitening().fit(samples * variances.sqrt() @ axes.T)
    corners = math.sqrt(DIMENSION) * torch.cat([torch.eye(DIMENSION), -torch.eye(DIMENSION)]).double()  # cov = I
    penalty = axes * (1 - variances / 2) @ axes.T if arm.damped else torch.zeros_like(axes)
    return whitening(corners * variances.sqrt() @ axes.T), penalty


def started(seeds: int) -> Tensor:
    """Random states of size START, (2, seeds, d)."""
    states = [
        torch.randn(2, DIMENSION, generator=keyed_generator("start", k), dtype=torch.float64) for k in range(seeds)
    ]
    return torch.stack([START * state / state.norm() for state in states], 1)


# --- predictions ------------------------------------------------------------------------------------------------------


def rate(rule: str, h: float, damping: Array) -> Array:
    """Spectral radius of an iteration in each direction, in closed form: l^2 - 2 m l + q = 0."""
    if rule == "simultaneous":
        m, q = 1 - h * damping / 2, 1 - h * damping + h**2 / 4
    else:
        m, q = 1 - h * damping / 2 - h**2 / 8, 1 - h * damping
    root = np.sqrt((m**2 - q).astype(complex))
    return np.asarray(np.maximum(np.abs(m + root), np.abs(m - root)))


def best_rate(rule: str, damping: Array) -> float:
    """The learning rate at which the slowest direction is fastest."""

    def slowest(log_h: float) -> float:
        return float(rate(rule, math.exp(log_h), damping).max())

    grid = np.linspace(math.log(damping.min() / 4), math.log(8), 600)
    at = int(np.argmin([slowest(x) for x in grid]))
    bounds = grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)]
    return math.exp(minimize_scalar(slowest, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)


def predicted_steps(matrix: Array, start: Array) -> float:
    """Iterations of a linear update after which a state stays below TARGET of its size; infinite where it grows."""
    far = TARGET * np.linalg.norm(start)
    if np.abs(np.linalg.eigvals(matrix)).max() >= 1:
        return math.inf
    powers = [matrix]
    while np.linalg.norm(powers[-1] @ start) >= far:
        powers.append(powers[-1] @ powers[-1])
    steps, state = 0, start
    for j in range(len(powers) - 1, -1, -1):
        if np.linalg.norm(powers[j] @ state) >= far:
            steps, state = steps + 2**j, powers[j] @ state
    ahead = 0
    while ahead < min(20 + steps // 20, 50_000):  # one that turns comes back to its long axis
        state, ahead = matrix @ state, ahead + 1
        if np.linalg.norm(state) >= far:
            steps, ahead = steps + ahead, 0
    return steps + 1


@dataclass
class Case:
    """An arm at a condition number under a rule at its best learning rate; numbers are one a seed.

    Attributes:
        conditions: of the second moments in training space.
        rates: best learning rates.
        radii: of the update operator at these.
        closed_forms: of the same.
        predicted: iterations, by the update operator.
        measured: iterations that were played; empty where they were not.
    """

    conditions: list[float]
    rates: list[float]
    radii: list[float]
    closed_forms: list[float]
    predicted: list[float]
    measured: list[int]

    @property
    def iterations(self) -> list[float]:
        """As played, or else as predicted."""
        return [float(k) for k in self.measured] or self.predicted


def case(arm: Arm, condition: float, rule: str, seeds: int, play_up_to: int, out: Path) -> Case:
    """Predict and, where that is no more than so many iterations, play; long plays are kept in ``out``."""
    sets = [data_set(arm, condition, seed) for seed in range(seeds)]
    rows, penalties = (torch.stack(parts) for parts in zip(*sets, strict=True))
    starts, one = started(seeds), torch.ones(1, dtype=torch.float64)
    found = Case([], [], [], [], [], [])
    for k in range(seeds):
        jacobian = LocationGAN(rows[k : k + 1], one, penalties[k : k + 1]).closed_form_jacobian()
        damping = -jacobian.matrix[DIMENSION:, DIMENSION:]
        moments, dampings = torch.linalg.eigvalsh(damping - penalties[k]), torch.linalg.eigvalsh(damping).numpy()
        h = best_rate(rule, dampings)
        update = operator(jacobian, rule, h)
        found.conditions.append(float(moments[-1] / moments[0]))
        found.rates.append(h)
        found.radii.append(float(np.abs(np.linalg.eigvals(update)).max()))
        found.closed_forms.append(float(rate(rule, h, dampings).max()))
        found.predicted.append(predicted_steps(update, starts[:, k].flatten().numpy()))
    about = max(found.predicted)
    if about <= play_up_to:
        game = LocationGAN(rows, torch.tensor(found.rates, dtype=torch.float64), penalties, starts)
        asked = {"arm": arm.name, "condition": condition, "rule": rule, "rates": found.rates, "start": START}
        path = out / f"{rule}-{arm.name}-{condition:g}.json".replace(" ", "_")
        play = partial(played_steps, game, rule, int(about))
        found.measured = kept(path, asked, play) if about > LONG else play()
    return found


def operator(jacobian: MatrixJacobian, rule: str, h: float) -> Array:
    """The linear map of an iteration of gradient descent at rate h."""
    optimizers = [SGD([nn.Parameter(part.clone())], lr=h) for part in jacobian.field]
    return np.asarray(RULES[rule].operator(jacobian, optimizers).dense().detach())


def played_steps(game: LocationGAN, rule: str, about: int) -> list[int]:
    """Iterations after which each game's state stays below TARGET of its size, in a play of twice as long as expected.

    Looked at every 2,000th of what is expected.
    """
    play = Play(game, RULES[rule], 1.0)
    every = max(1, about // 2000)
    last = torch.zeros(len(game.rates), dtype=torch.int64)
    far = TARGET * game.distances()
    for k in range(2 * about + 50):
        if k % every == 0:
            last[~(game.distances() < far)] = k  # not a number is far
            if k - int(last.max()) > 20 + k // 20:
                break
        play.step()
    return [int(k) + every for k in last]


# --- closed forms -----------------------------------------------------------------------------------------------------


def largest_stable_rate(variance: float) -> float:
    """Of simultaneous steps along a direction of that variance, by the game's own Jacobian."""
    rows = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64) * math.sqrt(variance)
    game = LocationGAN(rows, torch.ones(1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64))
    limit = stability(game, game.batch(), Simultaneous(), lr=0.1).limit
    return math.nan if limit is None else 0.1 * limit


def condition_with_bias(mean: float) -> float:
    """Of the discriminator's Hessian, D(x) = w x + b, on data of unit variance, by the game's Jacobian."""
    rows = torch.tensor([[[mean + 1, 1.0], [mean - 1, 1.0]]], dtype=torch.float64)
    game = LocationGAN(rows, torch.ones(1, dtype=torch.float64), torch.zeros(1, 2, 2, dtype=torch.float64))
    block = dense(GameJacobian(game, game.batch())).matrix[2:, 2:]
    return float(torch.linalg.cond(block))
