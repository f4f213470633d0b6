"""On a real network and real digits, the learning rate at which training starts to cycle is read off its Jacobian.

A Wasserstein GAN with R1 on scikit-learn's digits, in float64, on a full batch with fixed latents, is trained, anchored
where it got to by (lambda/2) |w - a|^2 for both players, and brought to its equilibrium by Newton's method. From the
game's Jacobian there: h* and the period of the cycle that sets in. Against them: the learning rate at which a small
perturbation starts to grow in training, and the period with which it turns, measured without any eigenvalue; and past
h* the period that GradientHealth sees in a few recorded parameters, which knows nothing of the equilibrium.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from callbacks.cycle import Cycle, Trajectory, dominant_cycle
from datamodules import DigitsDataModule
from gan_modules import Adam, GANModule
from gan_modules.batch import GameBatch, RandomRows, key
from gan_modules.dynamics import GameJacobian, MatrixJacobian, Play, dense, stability
from gan_modules.losses import Wasserstein
from gan_modules.penalties import R1
from gan_modules.rules import Simultaneous
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

#: learning rates at which growth is looked at first, the same for every seed
COARSE = tuple(0.03 * 2 ** (k / 2) for k in range(9))
#: iterations past h* in which a cycle is looked for: later one of them leaves for another equilibrium
SEEN = 500
#: size at which a perturbation is held
SIZE = 1e-6


class AnchoredGAN(GANModule):
    """Wasserstein + R1, and for both players (weight/2) |w - a|^2 with anchors a where they were when it was set."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, gamma: float, latent_dim: int) -> None:
        super().__init__(
            generator, discriminator, loss=Wasserstein(), penalties=[R1(gamma)], latent_dim=latent_dim, ema_decay=0.0
        )
        self.weight = 0.0
        self.anchors: list[list[Tensor]] = [[], []]

    def anchor(self, weight: float) -> None:
        self.weight = weight
        self.anchors = [[p.detach().clone() for p in player.parameters()] for player in self.players]

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        return super().player_loss(player, batch) + self._pull(player)

    def training_loss(self, player: int, batch: GameBatch) -> Tensor:
        return super().training_loss(player, batch) + self._pull(player)

    def _pull(self, player: int) -> Tensor:
        pairs = zip(self.players[player].parameters(), self.anchors[player], strict=False)  # none before it is anchored
        squares = [(p - a).square().sum() for p, a in pairs]
        return 0.5 * self.weight * torch.stack(squares).sum() if squares else torch.zeros((), dtype=torch.float64)


@dataclass
class Equilibrium:
    """An anchored game at rest: its batch, where it is, its Jacobian there, and how still it stands."""

    game: AnchoredGAN
    batch: GameBatch
    position: Tensor
    jacobian: MatrixJacobian
    residual: float


@dataclass(frozen=True)
class HopfNetwork(Study):
    """Parameters.

    Attributes:
        rows: digits, and latents.
        hidden: tanh units of each player.
        latent_dim: size of z.
        gamma: weight of R1.
        anchor: lambda; above the largest real part of the trained game's eigenvalues, so that it is damped.
        iterations: of training before it is anchored.
        burn: iterations before growth is measured, in which other motions die out.
        watch: iterations over which it is measured.
        past: iterations of training past h*.
    """

    rows: int = 256
    hidden: int = 8
    latent_dim: int = 4
    gamma: float = 0.3
    anchor: float = 1.0
    iterations: int = 1000
    burn: int = 400
    watch: int = 400
    past: int = 2500

    FULL: ClassVar[dict[str, Any]] = {"burn": 1000, "watch": 1000}

    def measure(self, run: Run) -> Findings:
        found = [self._seed(seed) for seed in run.track(range(self.seeds), "seeds")]

        def each(name: str) -> list[Any]:
            return [one[name] for one in found]

        rows = [
            Row("parameters", each("parameters")),
            Row("norm of the field at the equilibrium", each("residual"), 1e-10, relation="<="),
            Row("largest real part without the anchor, / lambda", each("free"), 1.0, relation="<="),
            Row("std of generated pixels / that of the data", each("spread"), 0.5, relation=">="),
            Row("h* is lost to", each("kind"), "Neimark-Sacker"),
            Row("h*, by products / by all eigenvalues", each("krylov"), 1.0, 1e-3),
            Row("h* predicted", each("limit")),
            Row("h* measured / predicted", each("measured"), 1.0, 0.05),
            Row("period of the cycle, predicted", each("period")),
            Row("period measured / predicted", each("turn"), 1.0, 0.05),
            Row("3 % past h*: late distance / that before", each("settled"), 1.0, 0.1),
            Row("3 % past h*: period seen in training / predicted", each("seen"), 1.0, 0.1),
            Row("3 % past h*: strength of that cycle", each("strength"), 0.5, relation=">="),
            Row("mixed blocks: largest singular value", [one["twist"][0] for one in found]),
            Row("mixed blocks: B + C^T, largest entry", each("antisymmetric"), 0.0, 1e-8),
            Row("fastest rotation, mixed blocks x 0", [one["rotations"][0] for one in found], 0.0, 1e-6),
            Row("fastest rotation, mixed blocks x 1/2", [one["rotations"][1] for one in found]),
            Row("fastest rotation, mixed blocks x 1", [one["rotations"][2] for one in found]),
            Row(
                "rotation, x 1/2 / x 1",
                [one["rotations"][1] / one["rotations"][2] for one in found],
                1.0,
                relation="<=",
            ),
        ]
        return Findings(rows, found)

    def _seed(self, seed: int) -> dict[str, Any]:
        rest = self._equilibrium(seed)
        matrix, n = rest.jacobian.matrix, rest.jacobian.sizes[0]
        eigenvalues = torch.linalg.eigvals(matrix)
        limits = -2 * eigenvalues.real / eigenvalues.abs().square()
        limit, binding = float(limits.min()), complex(eigenvalues[limits.argmin()])
        # the same from products alone, as a diagnostic of a network of any size has it
        probe = stability(GameJacobian(rest.game, rest.batch), rule=Simultaneous(), lr=0.1, dense_size=0)
        grows = next((lr for lr in COARSE if self._growth(rest, lr, seed)[0] > 0), math.nan)
        fine = np.linspace(grows / math.sqrt(2), grows, 6)  # between the last that shrank and the first that grew
        rates, turns = zip(*(self._growth(rest, float(lr), seed) for lr in fine), strict=True)
        measured, turn = _crossing(fine, rates, turns)
        mixed = matrix[:n, n:]
        past, cycle = self._past(rest, 1.03 * limit, seed)
        period = 2 * math.pi / abs(np.angle(1 + limit * binding))
        late = np.array_split(past[-self.past // 4 :], 2)
        with torch.no_grad():
            generated = rest.game.generator(rest.batch.z)
        predicted = [float(torch.log(torch.abs(1 + lr * eigenvalues)).max()) for lr in fine]
        return {
            "seed": seed,
            "parameters": len(matrix),
            "residual": rest.residual,
            "free": (float(eigenvalues.real.max()) + self.anchor) / self.anchor,
            "spread": float(generated.std(0).mean() / rest.batch.real.std(0).mean()),
            "kind": str(probe.kind),
            "krylov": 0.1 * (probe.limit or math.nan) / limit,
            "limit": limit,
            "measured": measured / limit,
            "period": period,
            "turn": turn / period,
            "seen": cycle.period / period,
            "strength": cycle.strength,
            "settled": float(np.sqrt((late[1] ** 2).mean() / (late[0] ** 2).mean())),
            "twist": torch.linalg.svdvals(mixed)[:4].tolist(),
            "antisymmetric": float((mixed + matrix[n:, :n].T).abs().max()),
            "rotations": [_fastest(matrix, n, scale) for scale in (0.0, 0.5, 1.0)],
            "eigenvalues": eigenvalues.numpy(),
            "fine": fine,
            "rates": np.array(rates),
            "predicted_rates": np.array(predicted),
            "past": past,
            "images": generated[:8].numpy(),
        }

    def _equilibrium(self, seed: int) -> Equilibrium:
        real = DigitsDataModule(batch_size=1).load("train")[0][: self.rows].double().flatten(1)
        generator, discriminator = (
            nn.Sequential(nn.Linear(a, self.hidden), nn.Tanh(), nn.Linear(self.hidden, b)).double()
            for a, b in ((self.latent_dim, real.shape[1]), (real.shape[1], 1))
        )
        numbers = torch.Generator().manual_seed(key("hopf_network", seed))
        with torch.no_grad():
            for p in (*generator.parameters(), *discriminator.parameters()):
                p.normal_(0, p.shape[-1] ** -0.5, generator=numbers) if p.ndim == 2 else p.zero_()
            generator[2].bias.copy_(real.mean(0))  # samples start among the data
        game = AnchoredGAN(generator, discriminator, self.gamma, self.latent_dim)
        random = RandomRows(seed, 0, 0, 0, self.rows, self.rows, real.device)
        batch = GameBatch(real, random.normal("z", (self.latent_dim,)).double(), random)
        training = Play(game, Simultaneous(), (_adam, _adam), lambda k: batch)
        for done in np.arange(self.iterations) / self.iterations:
            for optimizer in training.optimizers:
                optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, 2 * (1 - done))
            training.step()
        game.anchor(self.anchor)
        residual = _newton(game, batch)
        rest = GameJacobian(game, batch)
        return Equilibrium(game, batch, _play(game, batch, 1.0).position, dense(rest), residual)

    def _growth(self, rest: Equilibrium, lr: float, seed: int) -> tuple[float, float]:
        """Growth rate an iteration, and period, of a small perturbation in training at that rate."""
        logarithms, projections = [], []
        direction, axis = _directions(len(rest.position), seed)
        play = _play(rest.game, rest.batch, lr)
        play.position, grown = rest.position + SIZE * direction, 0.0
        for _ in range(self.burn + self.watch):
            play.step()
            displacement = play.position - rest.position
            distance = float(displacement.norm())
            logarithms.append(math.log(distance) + grown)
            projections.append(float(displacement @ axis) / distance)
            if not SIZE / 100 < distance < 100 * SIZE:  # it is linear growth that is measured: put it back to size
                play.position = rest.position + (SIZE / distance) * displacement
                grown += math.log(distance / SIZE)
        play.position = rest.position
        late, turning = np.array(logarithms[self.burn :]), np.array(projections[self.burn :])
        return float(np.polyfit(np.arange(self.watch), late, 1)[0]), _period(turning)

    def _past(self, rest: Equilibrium, lr: float, seed: int) -> tuple[np.ndarray[Any, Any], Cycle]:
        """Distance from the equilibrium in training at a rate past h*, from one of 0.3; and what returns."""
        play = _play(rest.game, rest.batch, lr)
        play.position = rest.position + 0.3 * _directions(len(rest.position), seed)[0]
        distances, trajectory = [], Trajectory(rest.game.players)
        for position in play.trajectory(self.past):
            distances.append(float((position - rest.position).norm()))
            if len(trajectory) < SEEN:
                trajectory.record()
        play.position = rest.position
        return np.array(distances), dominant_cycle(np.concatenate(trajectory.positions(), axis=1))

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(2, 2, height=3.1)
        plane, growth, past, blocks = axes.flat
        angle = np.linspace(0, 2 * np.pi, 200)
        plane.plot(np.cos(angle) - 1, np.sin(angle), color="0.6", label="|1 + h* l| = 1")
        plane.set(title="eigenvalues l of the game Jacobian", xlabel="h* Re l", ylabel="h* Im l", aspect="equal")
        plane.legend(loc="center left", fontsize=7)
        for result, colour in zip(findings.data, _cycle(), strict=False):
            scaled, points = result["fine"] / result["limit"], result["limit"] * result["eigenvalues"]
            plane.plot(points.real, points.imag, ".", color=colour, ms=4)
            growth.plot(scaled, result["predicted_rates"], color=colour)
            growth.plot(scaled, result["rates"], "o", color=colour, ms=4, label=f"seed {result['seed']}")
            past.plot(result["past"], color=colour, lw=0.7)
            blocks.plot([0, 0.5, 1], result["rotations"], "o-", color=colour, ms=4)
        growth.axhline(0, color="0.6", lw=0.8)
        growth.axvline(1, color="0.6", lw=0.8)
        growth.set(title="perturbation: measured (dots), predicted (lines)", xlabel="learning rate / predicted h*",
                   ylabel="growth an iteration")  # fmt: skip
        growth.legend(fontsize=7)
        past.set(title="training 3 % past h*", xlabel="iteration", ylabel="distance from equilibrium")
        blocks.set(
            title="the twist is the mixed derivative", xlabel="mixed blocks x", ylabel="fastest rotation, max Im l"
        )
        return figure


def _cycle() -> Iterator[str]:
    while True:
        yield from COLOURS[:6]


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return Adam(parameters, lr=3e-3, beta1=0.0, beta2=0.9)


def _play(game: AnchoredGAN, batch: GameBatch, lr: float) -> Play:
    return Play(game, Simultaneous(), lr, lambda k: batch)


def _directions(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """A random unit vector to perturb along, and another to look along."""
    generator = torch.Generator().manual_seed(key("perturbation", seed))
    both = torch.randn(2, n, generator=generator, dtype=torch.float64)
    return both[0] / both[0].norm(), both[1] / both[1].norm()


def _newton(game: AnchoredGAN, batch: GameBatch, tolerance: float = 1e-11) -> float:
    """Bring the game to a zero of its field, by damped Newton steps; the norm that is left."""
    play = _play(game, batch, 1.0)
    factors: Any = None
    jacobian = GameJacobian(game, batch)
    norm = float(torch.cat(jacobian.field).norm())
    for _ in range(60):
        if norm <= tolerance:
            return norm
        fresh = factors is None
        if fresh:
            factors = torch.linalg.lu_factor(dense(jacobian).matrix)
        field = torch.cat(jacobian.field)
        step = torch.linalg.lu_solve(*factors, field[:, None])[:, 0]
        start, size = play.position, 1.0
        while True:
            play.position = start - size * step
            jacobian = GameJacobian(game, batch)
            after = float(torch.cat(jacobian.field).norm())
            if after < norm or not fresh or size < 1e-3:
                break
            size /= 2
        if after >= norm:
            play.position, jacobian = start, GameJacobian(game, batch)
            if fresh:
                return norm
        if after > 0.2 * norm:
            factors = None  # the old Jacobian no longer contracts well
        norm = min(norm, after)
    return norm


def _period(values: np.ndarray[Any, Any]) -> float:
    """Twice the mean distance between zero crossings, interpolated; infinite below three."""
    at = np.flatnonzero(values[:-1] * values[1:] < 0)
    crossings = at + values[at] / (values[at] - values[at + 1])
    return float(2 * np.diff(crossings).mean()) if len(crossings) > 2 else math.inf


def _crossing(lrs: Any, rates: Any, periods: Any) -> tuple[float, float]:
    """The learning rate at which growth crosses zero, and the period there, interpolated; NaN where it does not."""
    for k in range(len(lrs) - 1):
        if rates[k] < 0 <= rates[k + 1]:
            share = -rates[k] / (rates[k + 1] - rates[k])
            return (
                float(lrs[k] + share * (lrs[k + 1] - lrs[k])),
                float(periods[k] + share * (periods[k + 1] - periods[k])),
            )
    return math.nan, math.nan


def _fastest(matrix: Tensor, n: int, scale: float) -> float:
    """Largest imaginary part among the eigenvalues when the mixed blocks are multiplied by ``scale``."""
    scaled = copy.deepcopy(matrix)
    scaled[:n, n:] *= scale
    scaled[n:, :n] *= scale
    return float(torch.linalg.eigvals(scaled).imag.max())
