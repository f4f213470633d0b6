"""A discriminator trained against an adversary has a smoother gradient and sends the generator a steadier signal."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from datamodules import DigitsDataModule
from gan_modules import DiracGAN, GANModule
from gan_modules.augmentation import AdversarialPerturbation, Augmentation
from gan_modules.dynamics import Play
from gan_modules.losses import NonSaturating, Wasserstein
from gan_modules.protocols import DISCRIMINATOR
from gan_modules.rules import Alternating, Simultaneous, UpdateRule
from studies.harness import COLOURS, Findings, Row, Run, Study, panels

Array = np.ndarray[Any, np.dtype[np.float64]]
ORDERS: dict[str, UpdateRule] = {"simultaneous": Simultaneous(), "alternating": Alternating(first="generator")}
#: softplus(8 x) / 8 is a rounded ReLU, on which the same learning rate serves
ACTIVATIONS: dict[str, nn.Module] = {"softplus": nn.Softplus(8.0), "ReLU": nn.ReLU()}
#: rows on which discriminators are judged, of each kind
HELD_OUT = 600


@dataclass(frozen=True)
class RobustDiscriminator(Study):
    """The adversary on the Dirac-GAN in closed form, and on digits against a generator that stands still.

    That generator is a Gaussian with the mean and covariance of the training images, so that what tells the two kinds
    apart is more than their first two moments. The arms differ by the adversary alone: the same start, minibatches and
    number of steps. A seed trains ``replicas`` discriminators of each arm, equal but for the order of minibatches.

    Most of what the adversary smooths it does by a smaller slope of D: the rows "each over its |grad D|" say how much
    is left when both fields are brought to one scale, and variances are given over their mean square as well.

    Attributes:
        friction: the adversary's radius on the Dirac-GAN.
        h: learning rate there.
        eps: radius on digits, whose pixels are from 0 to 1: the Euclidean norm of a whole image.
        steps: of a discriminator on digits.
        replicas: of it.
    """

    friction: float = 0.05
    h: float = 0.01
    eps: float = 0.2
    steps: int = 600
    replicas: int = 3

    FULL: ClassVar[dict[str, Any]] = {"seeds": 20, "h": 0.002, "steps": 2000, "replicas": 6}

    def measure(self, run: Run) -> Findings:
        rows, paths = self._dirac(run)
        digits = Digits()
        found = {}
        jobs = [(name, seed) for name in ACTIVATIONS for seed in range(self.seeds)]
        for name, seed in run.track(jobs, "discriminators"):
            for arm, augmentation in {"plain": [], "robust": [AdversarialPerturbation(self.eps, fakes=True)]}.items():
                trained = [
                    digits.discriminator(ACTIVATIONS[name], augmentation, seed, k, self.steps)
                    for k in range(self.replicas)
                ]
                found[name, arm, seed] = digits.measure(trained, self.eps, seed)
        for name in ACTIVATIONS:
            plain, robust = (
                {key: np.array([found[name, arm, seed][key] for seed in range(self.seeds)]) for key in KEYS}
                for arm in ("plain", "robust")
            )
            rows += rows_of(name, plain, robust)
        return Findings(rows, {"paths": paths, "found": found})

    # --- the Dirac-GAN --------------------------------------------------------------------------------------------

    def _dirac(self, run: Run) -> tuple[list[Row], dict[str, Array]]:
        starts = np.random.default_rng(0).uniform(0.6, 1.0, self.seeds - 1).tolist()
        rows, paths = [], {}
        for order, rule in run.track(ORDERS.items(), "Dirac-GAN", len(ORDERS)):
            losses, ends = [], []
            for start in [1.0, *starts]:
                path = play(rule, self.h, start, 5.5 * math.pi, self.friction)
                losses.append(lost_per_half_cycle(path, self.friction) / self.friction)
                ends.append(abs(float(path[-1, 0])) / self.friction)
                paths.setdefault(order, path)
            # gradient steps of both at once gain a share pi h / 2 of the amplitude in half a cycle
            gained = math.pi / 2 * self.h / self.friction if order == "simultaneous" else 0.0
            rows += [
                Row(f"Dirac-GAN, {order}: amplitude lost a half cycle, in eps", losses, 4.0, 0.05 + gained),
                Row(f"Dirac-GAN, {order}: |theta| where it stops, in eps", ends, 2.0, 0.01, "<="),
            ]
        paths["plain"] = play(ORDERS["alternating"], self.h, 1.0, 5.5 * math.pi, 0.0)
        plain = float(np.abs(paths["plain"][-int(2 * math.pi / self.h) :, 0]).max())
        return [*rows, Row("Dirac-GAN, alternating, without: amplitude left", plain, 1.0, 0.01)], paths

    # --- figure ---------------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(1, 3, width=12.0, height=3.6)
        self._draw_friction(axes[0, 0], findings.data["paths"])
        found = findings.data["found"]
        changes = {f"step {word}": f"change at {word}" for word in ("eps", "eps / 4")}
        _draw_pairs(axes[0, 1], found, changes, self.seeds)
        axes[0, 1].set(ylabel="95th percentile of |grad D(x + d) - grad D(x)|", title="Change of D's gradient, digits")
        noises = {"minibatches": "minibatches, relative", "input noise": "noise, relative"}
        _draw_pairs(axes[0, 2], found, noises, self.seeds)
        axes[0, 2].set(ylabel="variance / mean square", title="Unsteadiness of dL_G / dG(z), digits")
        return figure

    def _draw_friction(self, ax: Any, paths: dict[str, Array]) -> None:
        for name, colour, label in (("plain", "0.75", "plain"), ("alternating", COLOURS[0], "robust")):
            theta = paths[name][:, 0]
            ax.plot(self.h * np.arange(len(theta)) / math.pi, theta, color=colour, label=label)
        turns = np.arange(1 + int(1 / (4 * self.friction)))
        ax.plot(turns, (-1.0) ** turns * (1 - 4 * self.friction * turns), "o", color=COLOURS[1], markersize=5,
                label="predicted: 4 eps less each")  # fmt: skip
        ax.axhspan(-2 * self.friction, 2 * self.friction, color=COLOURS[4], alpha=0.25, linewidth=0,
                   label="|theta| at most 2 eps: at rest")  # fmt: skip
        ax.set(xlabel="time in half cycles (k h / pi)", ylabel="theta", ylim=(-1.1, 1.9),
               title=f"Dry friction on the Dirac-GAN, eps = {self.friction}")  # fmt: skip
        ax.legend(loc="upper right", fontsize=8, ncols=2)


# --- the Dirac-GAN ------------------------------------------------------------------------------------------------


def play(rule: UpdateRule, h: float, start: float, time: float, eps: float) -> Array:
    """The trajectory of (theta, psi) with the Wasserstein loss, (n, 2); eps = 0 is without an adversary."""
    game = DiracGAN(Wasserstein(), theta=start, augmentation=[AdversarialPerturbation(eps, fakes=True)])
    trajectory = Play(game, rule, h, lambda k: game.batch(k)).trajectory(int(time / h))
    return torch.stack(list(trajectory)).numpy()


def lost_per_half_cycle(path: Array, eps: float) -> float:
    """The mean fall of |theta| from one turn, where psi changes sign, to the next, down to where friction holds it."""
    psi = path[1:, 1]
    turns = 1 + np.flatnonzero(np.sign(psi[1:]) != np.sign(psi[:-1]))
    amplitudes = np.abs(path[np.concatenate([[0], turns]), 0])
    # from less it does not come to the other side
    moving = amplitudes[: 1 + int(np.argmax(np.append(amplitudes < 4 * eps, True)))]
    return float(-np.diff(moving).mean()) if len(moving) > 1 else math.nan


# --- digits -------------------------------------------------------------------------------------------------------

KEYS = (
    "accuracy", "gradient", "change at eps", "change at eps / 4", "minibatches", "noise", "minibatches, relative",
    "noise, relative",
)  # fmt: skip


class GaussianImages(nn.Module):
    """Images with the mean and covariance of those it is given, from z of as many numbers as there are pixels."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        flat = images.flatten(1)
        variances, directions = torch.linalg.eigh(torch.cov(flat.T))
        self.shape, self.latent_dim = images.shape[1:], flat.shape[1]
        self.mean = nn.Parameter(flat.mean(0))
        self.root = nn.Parameter(directions * variances.clamp(min=0).sqrt())  # some pixels never vary

    def forward(self, z: Tensor) -> Tensor:
        return (self.mean + z @ self.root.T).view(-1, *self.shape)


class Digits:
    """Discriminators between digits and Gaussian images, and how smooth and steady they are."""

    def __init__(self) -> None:
        data = DigitsDataModule(batch_size=64)
        self.train = data.load("train")[0]
        self.real = torch.cat([data.load("val")[0], data.load("test")[0]])[:HELD_OUT]
        self.generator = GaussianImages(self.train)
        numbers = torch.Generator().manual_seed(0)
        self.fake = self.generator(torch.randn(HELD_OUT, self.generator.latent_dim, generator=numbers)).detach()

    def discriminator(
        self, activation: nn.Module, augmentation: list[Augmentation], seed: int, replica: int, steps: int
    ) -> nn.Module:
        """One trained for ``steps`` steps of Adam; ``seed`` gives its start, with ``replica`` its minibatches."""
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), copy.deepcopy(activation), nn.Linear(128, 128), activation,
            nn.Linear(128, 1),
        )  # fmt: skip
        number = 1000 * seed + replica
        game = GANModule(self.generator, network, loss=NonSaturating(), augmentation=augmentation, seed=number)
        optimizer = torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.9))
        order = torch.Generator().manual_seed(number)
        for step in range(steps):
            rows = torch.randint(len(self.train), (64,), generator=order)
            game.gradient(DISCRIMINATOR, game.game_batch(self.train[rows], iteration=step, draw=0))
            optimizer.step()
        return network

    def measure(self, replicas: list[nn.Module], eps: float, seed: int) -> dict[str, float]:
        """Means over replicas of what KEYS names, on held-out rows."""
        x = torch.cat([self.real, self.fake])
        numbers = torch.Generator().manual_seed(seed)
        way = torch.randn(x.shape, generator=numbers)
        way = way / way.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        values: dict[str, list[float]] = {key: [] for key in KEYS[:4]}
        for network in replicas:
            with torch.no_grad():
                right = torch.cat([network(self.real) > 0, network(self.fake) <= 0])
            slope = slopes(network, x)
            values["accuracy"].append(float(right.float().mean()))
            values["gradient"].append(float(slope.norm(dim=1).mean()))
            for word, size in (("eps", eps), ("eps / 4", eps / 4)):
                change = (slopes(network, x + size * way) - slope).norm(dim=1)
                values[f"change at {word}"].append(float(change.quantile(0.95)))
        return {key: float(np.mean(value)) for key, value in values.items()} | self._signal(replicas, eps / 2 * way)

    def _signal(self, replicas: list[nn.Module], noise: Tensor) -> dict[str, float]:
        """The generator's gradient at each fake: its variance over replicas and its change under a small input noise.

        Relative to its mean square.
        """
        signal = torch.stack([slopes(network, self.fake, generator=True) for network in replicas])
        moved = torch.stack([slopes(n, self.fake + noise[HELD_OUT:], generator=True) for n in replicas])
        size = float(signal.square().sum(2).mean())
        minibatches = float(signal.var(0).sum(1).mean())
        change = float((moved - signal).square().sum(2).mean())
        return {
            "minibatches": minibatches, "noise": change, "minibatches, relative": minibatches / size,
            "noise, relative": change / size,
        }  # fmt: skip


def slopes(network: nn.Module, x: Tensor, *, generator: bool = False) -> Tensor:
    """The gradient in each row, (B, size), of D, or of the generator's loss -log sigmoid(D) = softplus(-D)."""
    x = x.detach().requires_grad_()
    logits = network(x)
    (gradient,) = torch.autograd.grad((nn.functional.softplus(-logits) if generator else logits).sum(), x)
    return gradient.flatten(1)


def rows_of(name: str, plain: dict[str, Array], robust: dict[str, Array]) -> list[Row]:
    """Robust against plain, a number a seed."""
    ratios = {key: (robust[key] / plain[key]).tolist() for key in KEYS}
    relative = {key: (robust[key] / robust["gradient"] * plain["gradient"] / plain[key]).tolist() for key in KEYS}
    return [
        Row(f"{name}: accuracy, plain", plain["accuracy"].tolist()),
        Row(f"{name}: accuracy, robust - plain", (robust["accuracy"] - plain["accuracy"]).tolist(), 0.0, 0.02),
        *(
            Row(
                f"{name}: change of grad D over a step of {word}, robust / plain",
                ratios[f"change at {word}"],
                0.5,
                0.0,
                "<=",
            )
            for word in ("eps", "eps / 4")
        ),
        Row(f"{name}: the same at eps, each over its |grad D|", relative["change at eps"]),
        Row(f"{name}: variance of dL_G/dG(z) over minibatches, robust / plain", ratios["minibatches"], 0.5, 0.0, "<="),
        Row(f"{name}: the same over its mean square", ratios["minibatches, relative"], 1.0, 0.0, "<=", on_mean=True),
        Row(f"{name}: its change under input noise, robust / plain", ratios["noise"], 0.5, 0.0, "<="),
        Row(f"{name}: the same over its mean square", ratios["noise, relative"]),
    ]


def _draw_pairs(ax: Any, found: dict[Any, dict[str, float]], keys: dict[str, str], seeds: int) -> None:
    """Plain and robust joined by a line for each seed, a column for each activation and key."""
    ticks = []
    for place, (name, (label, key)) in enumerate([(n, item) for n in ACTIVATIONS for item in keys.items()]):
        ticks.append(f"{name},\n{label}")
        for seed in range(seeds):
            pair = [found[name, arm, seed][key] for arm in ("plain", "robust")]
            ax.plot([place - 0.2, place + 0.2], pair, color="0.8", zorder=1)
            for offset, arm, value in zip((-0.2, 0.2), ("plain", "robust"), pair, strict=True):
                first = place == 0 and seed == 0
                ax.plot(place + offset, value, "o", color=COLOURS[arm == "plain"], markersize=4,
                        label=arm if first else None)  # fmt: skip
    ax.set(yscale="log", xticks=range(len(ticks)))
    ax.set_xticklabels(ticks, fontsize=8)
    ax.legend(loc="best", fontsize=8)
