"""Weight clipping trains a WGAN, and shows its faults: gradients that vanish or explode, corners, simple critics.

Gradients by depth in closed form: through a ReLU layer of width n whose weights are +-c a gradient's norm changes by
c sqrt(n / 2), for half of the units pass it on. The others are measured on critics trained on a ring of Gaussians
against the same ring under noise, beside critics of the one-sided gradient penalty (Gulrajani et al., 2017, figure 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from gan_modules.networks import MLPDiscriminator
from gan_modules.penalties import Constraint, GradientPenalty, Penalty, WeightClipping
from studies.harness import COLOURS, Findings, Row, Run, Study, panels
from studies.plane import critic_of, distances_in_training, gan, gap, noisy_ring, numbers, slopes, transport

Array = np.ndarray[Any, np.dtype[np.float64]]
#: of the critics, by what keeps them Lipschitz
CRITICS: dict[str, Penalty | Constraint] = {
    "clipped, c = 0.01": WeightClipping(0.01),
    "clipped, c = 0.1": WeightClipping(0.1),
    "gradient penalty": GradientPenalty(10.0, one_sided=True),
}
GROUND = 500  # points that critics are judged on


@dataclass(frozen=True)
class Clipping(Study):
    """Parameters.

    Attributes:
        depth: hidden layers of the critic whose gradients are followed.
        width: their units.
        bounds: of its weights.
        steps: of the critics on the two rings.
        rows: of a batch.
        critics: which of CRITICS.
        iterations: of the WGAN; 0 leaves it out.
    """

    depth: int = 12
    width: int = 512
    bounds: tuple[float, ...] = (0.1, 0.01, 0.001)
    steps: int = 600
    rows: int = 128
    critics: tuple[str, ...] = tuple(CRITICS)
    iterations: int = 300

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20}

    def measure(self, run: Run) -> Findings:
        rows: list[Row] = []
        data: dict[str, Any] = {"gradients": {}, "critics": {}, "weights": {}, "training": []}
        for c in self.bounds:
            norms = [self._gradients(c, seed) for seed in range(self.seeds)]
            data["gradients"][c] = norms[0]
            # from the last layer on down, as it is propagated
            found = [float(np.polyfit(np.arange(self.depth), n[::-1], 1)[0]) for n in norms]
            expected = math.log10(c * math.sqrt(self.width / 2))
            rows.append(Row(f"weights +-{c}: log10 |gradient|, a layer", found, expected, 0.02))
        for name in run.track(self.critics, "critics"):
            rows += self._critic(name, CRITICS[name], data)
        if self.iterations:
            for seed in run.track(range(self.seeds), "WGAN"):
                game = gan(WeightClipping(0.01), 3, 64, seed)
                every = max(1, self.iterations // 10)
                data["training"].append(distances_in_training(game, seed, self.iterations, self.rows, every))
            starts = [path[0] for path in data["training"]]
            ends = [path[-1] / path[0] for path in data["training"]]
            rows.append(Row("WGAN, clipped at 0.01: distance from the ring at the start", starts))
            rows.append(Row("WGAN, clipped at 0.01: after training / at the start", ends, 0.5, relation="<="))
        return Findings(rows, data)

    def _gradients(self, c: float, seed: int) -> Array:
        """log10 of the mean norm of the critic's gradient in each hidden layer's output, its weights +-c at random."""
        critic = MLPDiscriminator((2,), self.width, self.depth, activation="relu").double()
        generator = numbers("signs", seed)
        for p in critic.parameters():
            p.data = c * (2.0 * torch.randint(0, 2, p.shape, generator=generator) - 1).double()
        h, outputs = torch.randn(128, 2, generator=generator, dtype=torch.float64), []
        for layer in critic.hidden:
            h = layer(h)
            if isinstance(layer, nn.ReLU):
                outputs.append(h)
        gradients = torch.autograd.grad(critic.head(h).sum(), outputs)
        return np.array([math.log10(g.norm(dim=1).mean()) for g in gradients])

    def _critic(self, name: str, by: Penalty | Constraint, data: dict[str, Any]) -> list[Row]:
        real, fake = noisy_ring(GROUND, numbers("ground"))
        distance = transport(real, fake)
        shares, simple, reached, uneven = [], [], [], []
        for seed in range(self.seeds):
            critic = critic_of(by, noisy_ring, seed, self.steps, self.rows)
            weights = torch.cat([m.weight.detach().flatten() for m in critic.modules() if isinstance(m, nn.Linear)])
            slope = slopes(critic, real, fake)
            shares.append(float((weights.abs() > 0.99 * weights.abs().max()).double().mean()))
            simple.append(explained(critic, torch.cat([real, fake])))
            reached.append(gap(critic, real, fake) / float(slope.quantile(0.99)) / distance)
            uneven.append(float(slope.std() / slope.mean()))
            if seed == 0:
                data["critics"][name], data["weights"][name] = critic, weights.numpy()
        names = [f"{name}: weights within 1 % of the largest", f"{name}: share of values that a quadratic explains",
                 f"{name}: gap between the rings, at slope 1 / W1"]  # fmt: skip
        if isinstance(by, WeightClipping):
            rows = [Row(names[0], shares, 0.4, relation=">="), Row(names[1], simple, 0.75, relation=">="),
                    Row(names[2], reached, 0.5, relation="<=")]  # fmt: skip
        else:
            rows = [Row(names[0], shares, 0.01, relation="<="), Row(names[1], simple, 0.5, relation="<="),
                    Row(names[2], reached, 0.75, relation=">=")]  # fmt: skip
        return [*rows, Row(f"{name}: slope, std / mean", uneven)]

    def figure(self, findings: Findings) -> Figure:
        data = findings.data
        figure, axes = panels(2, 3, width=10.0)
        depth, weights, training = axes[0]
        for (c, norms), colour in zip(data["gradients"].items(), COLOURS, strict=False):
            layers = np.arange(1, len(norms) + 1)
            depth.plot(layers, norms, "o", color=colour, ms=4, label=f"weights ±{c}")
            depth.plot(
                layers, norms[-1] + (len(norms) - layers) * math.log10(c * math.sqrt(self.width / 2)), color=colour
            )
        depth.set(title="gradient by depth: measured (dots), predicted (lines)", xlabel="layer",
                  ylabel="log10 |gradient|")  # fmt: skip
        depth.legend(fontsize=7, loc="lower right")
        for (name, values), colour in zip(data["weights"].items(), COLOURS, strict=False):
            share = np.full(len(values), 1 / len(values))
            weights.hist(
                values / abs(values).max(), 41, weights=share, histtype="step", color=colour, label=name, lw=1.4
            )
        weights.set(
            title="weights of trained critics", xlabel="weight / largest", ylabel="share", yscale="log", ylim=(1e-4, 20)
        )
        if data["critics"]:
            weights.legend(fontsize=7, loc="upper center")
        for path in data["training"]:
            training.plot(np.linspace(0, self.iterations, len(path)), path, color=COLOURS[0])
        training.set(
            title="WGAN clipped at 0.01: it does train", xlabel="iteration", ylabel="W1 from the ring", ylim=(0, None)
        )
        real, fake = noisy_ring(GROUND, numbers("ground"))
        for ax, (name, critic) in zip(axes[1], data["critics"].items(), strict=False):
            ticks = np.linspace(-3.2, 3.2, 121)
            grid = torch.tensor(np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2), dtype=torch.float32)
            with torch.no_grad():
                surface = critic(grid).view(121, 121).numpy()
            ax.contourf(ticks, ticks, surface, 16, cmap="Blues")
            ax.plot(*fake.T, ".", color=COLOURS[1], ms=1.5, alpha=0.6, label="the ring under noise")
            ax.plot(*real.T, ".", color="white", ms=2.5, mec="black", mew=0.3, label="ring")
            ax.set(title=f"{name}: values, dark is real", aspect="equal", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2))
            ax.set_axis_off()
        if data["critics"]:
            axes[1, 0].legend(fontsize=7, loc="lower left", frameon=True, markerscale=2)
        return figure


@torch.no_grad()
def explained(critic: nn.Module, points: Tensor) -> float:
    """Share of the variance of the critic's values at points of the plane that the best quadratic function explains."""
    x, y = points.double().unbind(1)
    basis = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], 1)
    values = critic(points).double()
    rest = values - basis @ torch.linalg.lstsq(basis, values[:, None]).solution[:, 0]
    return float(1 - rest.var() / values.var())
