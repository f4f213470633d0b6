"""Real GANs train at saddles of the generator's loss, and turn: eigenvalues of game and players along training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from datamodules import DigitsDataModule, MNISTDataModule
from gan_modules import R3GAN, WGANGP, Adam, GANModule, MinimaxGAN
from gan_modules.batch import GameBatch
from gan_modules.dynamics import GameJacobian, Play, Ritz, hessian_block, lanczos, spectrum, stability
from gan_modules.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1, R2
from gan_modules.protocols import PLAYER_NAMES
from studies.harness import COLOURS, Findings, Row, Run, Study, panels
from studies.kept import kept

DIGITS, MNIST = "digits", "MNIST"
MINIMAX, WASSERSTEIN, RELATIVISTIC = "minimax", "WGAN-GP", "R3GAN"
VARIANTS: dict[str, Callable[..., GANModule]] = {
    MINIMAX: MinimaxGAN,
    WASSERSTEIN: WGANGP,
    RELATIVISTIC: partial(R3GAN, gamma=0.3),
}
#: a state of minimax training, and the same with R3GAN's penalties added to the discriminator's loss
PENALISED = partial(MinimaxGAN, penalties=[R1(0.3), R2(0.3)])
#: values are told from 0 above this share of the largest modulus
ZERO = 1e-5


@dataclass(frozen=True)
class RealNetworkSpectra(Study):
    """Spectra of a few states of each run: at the start, and after so many iterations of Adam.

    Networks are piecewise linear with a linear last layer: multilayer perceptrons on digits, DCGANs on MNIST. So each
    weight by itself moves a logit linearly, whose Hessian has no trace: that of the generator's block is of the sign of
    the loss' curvature in the logit, negative for minimax, zero for Wasserstein, positive for relativistic pairing. A
    negative trace needs a negative eigenvalue, none needs both signs. In a zero-sum game without penalties real parts
    are within the range of the blocks' negated eigenvalues (Bendixson, 1902), for the mixed blocks cancel.

    Attributes:
        looks: iterations after which to look, on digits.
        mnist_seeds: seeds on MNIST, 0 to leave it out.
        mnist_looks: iterations after which to look, on MNIST.
        root: folder of MNIST's files, below which they are in `MNIST/raw/`; without them digits are alone.
        rows: of the batches, in training and at a look.
        width: of digits' networks.
        mnist_width: channels of MNIST's networks before the last layer.
        lr: of Adam, (beta1, beta2) = (0, .9).
        vectors: dimension of the Krylov spaces.
    """

    looks: tuple[int, ...] = (0, 30, 100, 300, 1000)
    mnist_seeds: int = 2
    mnist_looks: tuple[int, ...] = (0, 30, 100)
    root: str = "data"
    rows: int = 64
    width: int = 64
    mnist_width: int = 4
    lr: float = 1e-3
    vectors: int = 40

    FULL: ClassVar[dict[str, Any]] = {
        "looks": (0, 30, 100, 300, 1000, 3000, 10000),
        "mnist_seeds": 5,
        "mnist_looks": (0, 30, 100, 300, 1000),
        "width": 256,
    }

    def measure(self, run: Run) -> Findings:
        images = {DIGITS: DigitsDataModule(batch_size=1).load("train")[0]} | self._mnist()
        tasks = [
            (data, variant, seed)
            for data in images
            for variant in VARIANTS
            for seed in range(self.seeds if data == DIGITS else self.mnist_seeds)
        ]
        found = {
            (data, variant, seed): self._looks(run, images[data], data, variant, seed)
            for data, variant, seed in run.track(tasks, "runs")
        }
        rows = [] if MNIST in images or not self.mnist_seeds else [Row("MNIST", f"absent in {self.root}: digits alone")]
        for data in images:
            rows += _rows(data, {key[1:]: looks for key, looks in found.items() if key[0] == data})
        return Findings(rows, found)

    def figure(self, findings: Findings) -> Figure:
        present = list(dict.fromkeys(data for data, _, _ in findings.data))
        figure, axes = panels(len(present) + 1, len(VARIANTS), height=2.9)
        for row, data in zip(axes, present, strict=False):
            for plane, variant in zip(row, VARIANTS, strict=True):
                _draw_plane(plane, findings.data[data, variant, 0], f"{data}, {variant}: eigenvalues of J")
        along = {key: looks for key, looks in findings.data.items() if key[0] == DIGITS}
        _draw_along(axes[-1, 0], along, _generator_dip, "H_GG: lowest / largest |eigenvalue|")
        _draw_along(axes[-1, 1], along, _rotation, "rotation of the leading eigenvalue")
        _draw_along(axes[-1, 2], along, _growth, "largest Re l / largest |l|")
        return figure

    # --- one run ----------------------------------------------------------------------------------------------------

    def _mnist(self) -> dict[str, Tensor]:
        if not self.mnist_seeds:
            return {}
        try:
            images = MNISTDataModule(batch_size=1, root=self.root, val_size=0).load("train")[0]
        except FileNotFoundError:
            return {}
        return {MNIST: images[:5000].float() / 255}

    def _looks(self, run: Run, images: Tensor, data: str, variant: str, seed: int) -> list[dict[str, Any]]:
        looks = self.looks if data == DIGITS else self.mnist_looks
        asked = {"looks": looks, "rows": self.rows, "lr": self.lr, "vectors": self.vectors}
        asked["width"] = self.width if data == DIGITS else self.mnist_width
        path = run.out / "runs" / f"{data}-{variant}-{seed}.json"
        result: list[dict[str, Any]] = kept(path, asked, lambda: self._train(images, variant, seed, looks, data))
        return result

    def _train(self, images: Tensor, variant: str, seed: int, looks: Iterable[int], data: str) -> list[dict[str, Any]]:
        torch.manual_seed(seed)
        if data == DIGITS:
            generator: Any = MLPGenerator((1, 8, 8), latent_dim=16, width=self.width, depth=2)
            discriminator: Any = MLPDiscriminator((1, 8, 8), width=self.width, depth=2)
        else:
            plain: Any = {"shape": (1, 28, 28), "width": self.mnist_width, "normalization": "none"}
            generator = DCGANGenerator(latent_dim=16, output="linear", **plain)
            discriminator = DCGANDiscriminator(**plain)
        game = VARIANTS[variant](generator, discriminator, ema_decay=0, seed=seed).double()
        order = torch.Generator().manual_seed(seed)
        images = images.double()

        def batch(_: int) -> GameBatch:
            rows = torch.randint(len(images), (self.rows,), generator=order)
            return game.game_batch(images[rows], iteration=play.iteration)

        adam = partial(Adam, lr=self.lr, beta1=0.0, beta2=0.9)
        play = Play(game, game.rule, (adam, adam), batch)
        at_looks = game.game_batch(images[: self.rows])
        found = []
        for look in looks:
            while play.iteration < look:
                play.step()
            found.append({"iteration": look} | self._look(game, play, at_looks, variant))
        return found

    def _look(self, game: GANModule, play: Play, batch: GameBatch, variant: str) -> dict[str, Any]:
        jacobian = GameJacobian(game, batch)
        values = _known(spectrum(jacobian, k=self.vectors, vectors=self.vectors))
        result: dict[str, Any] = {"values": [[v.real, v.imag] for v in values]}
        for player, name in enumerate(PLAYER_NAMES):
            ends = lanczos(hessian_block(jacobian, player), jacobian.field[player], self.vectors)
            result[name] = [float(ends.values.min()), float(ends.values.max())]
        if play.iteration:  # Adam has second moments once it has stepped
            answer = stability(
                jacobian, rule=game.rule, optimizers=play.optimizers, vectors=self.vectors, thorough=False
            )
            result |= {"verdict": answer.verdict, "lr / h*": answer.lr_over_limit, "radius": answer.radius}
        if variant == MINIMAX:
            other = PENALISED(game.generator, game.discriminator, ema_decay=0, seed=game.seed)
            damped = _known(spectrum(GameJacobian(other, batch), k=self.vectors, vectors=self.vectors))
            result["damping"] = [_damping(values), _damping(damped)]
        return result


def _known(found: Ritz) -> list[complex]:
    """The eigenvalues that have converged or surely grow, the largest modulus first."""
    known = found.converged(1e-4) | (found.values.real > 10 * found.residuals)
    known[0] = True  # to measure by, when nothing has converged
    return [complex(value) for value in found.values[known]]


def _damping(values: list[complex]) -> float:
    """-Re / |l| of what turns fastest; 0 where nothing turns."""
    fastest = max(values, key=lambda v: abs(v.imag))
    return -fastest.real / abs(fastest) if abs(fastest.imag) > ZERO * abs(values[0]) else 0.0


# --- what is made of the looks ----------------------------------------------------------------------------------------


def _values(look: dict[str, Any]) -> list[complex]:
    return [complex(*pair) for pair in look["values"]]


def _rotation(look: dict[str, Any]) -> float:
    leading = _values(look)[0]
    return abs(leading.imag) / abs(leading)


def _growth(look: dict[str, Any]) -> float:
    values = _values(look)
    return max(v.real for v in values) / abs(values[0])


def _generator_dip(look: dict[str, Any]) -> float:
    low, high = look["generator"]
    return low / max(abs(low), abs(high))


def _is_saddle(look: dict[str, Any], player: str) -> float:
    low, high = look[player]
    return float(low < -ZERO * max(abs(low), abs(high)) and high > ZERO * max(abs(low), abs(high)))


def _outside(look: dict[str, Any]) -> float:
    """How far real parts are outside of the blocks' range, over the largest modulus."""
    values = _values(look)
    low = -max(look[player][1] for player in PLAYER_NAMES)
    high = -min(look[player][0] for player in PLAYER_NAMES)
    reals = [v.real for v in values]
    return max(max(reals) - high, low - min(reals)) / abs(values[0])


def _rows(data: str, runs: dict[tuple[str, int], list[dict[str, Any]]]) -> list[Row]:
    """Claims on one data set; those with an expectation follow from the losses, the others are only reported."""
    of = {
        variant: [looks for (name, _), looks in sorted(runs.items()) if name == variant] for variant in VARIANTS
    }  # fmt: skip

    def share(variant: str, holds: Callable[[dict[str, Any]], float], later: bool = False) -> list[float]:
        """Of the looks of each seed, without the one at the start where asked."""
        return [float(np.mean([holds(look) for look in looks[int(later) :]])) for looks in of[variant]]

    def negative(look: dict[str, Any]) -> float:
        return float(look["generator"][0] < 0)

    def positive(player: str) -> Callable[[dict[str, Any]], float]:
        return lambda look: float(look[player][1] > 0)

    rows = [
        Row(f"{data}, {MINIMAX}: Re l outside of the blocks' range",
            [max(map(_outside, looks)) for looks in of[MINIMAX]], 0.0, 1e-3, "<="),
        Row(f"{data}, {MINIMAX}: looks with negative curvature of G's loss", share(MINIMAX, negative), 1.0),
        Row(f"{data}, {MINIMAX}: looks with positive curvature of D's loss",
            share(MINIMAX, positive("discriminator")), 1.0),
        Row(f"{data}, {WASSERSTEIN}: looks at a saddle of G's loss",
            share(WASSERSTEIN, lambda look: _is_saddle(look, "generator")), 1.0),
        Row(f"{data}, {RELATIVISTIC}: looks with positive curvature of G's loss",
            share(RELATIVISTIC, positive("generator")), 1.0),
    ]  # fmt: skip
    gain = [float(np.mean([d["damping"][1] - d["damping"][0] for d in looks])) for looks in of[MINIMAX]]
    rows.append(Row(f"{data}, {MINIMAX}: damping -Re l / |l| gained by R1 + R2", gain, 0.0, 0.0, ">=", on_mean=True))
    for variant in VARIANTS:
        trained = f"{data}, {variant}, trained:"
        rows += [
            Row(f"{trained} looks where an eigenvalue of positive real part was found",
                share(variant, lambda look: float(_growth(look) > ZERO), True)),
            Row(f"{trained} looks at a saddle of G's loss",
                share(variant, lambda look: _is_saddle(look, "generator"), True)),
            Row(f"{trained} looks at a saddle of D's loss",
                share(variant, lambda look: _is_saddle(look, "discriminator"), True)),
            Row(f"{trained} rotation of the leading eigenvalue", share(variant, _rotation, True)),
            Row(f"{trained} largest Re l / |l|", share(variant, _growth, True)),
            Row(f"{trained} looks unstable at any learning rate",
                share(variant, lambda look: float(look["verdict"] == "unstable at any rate"), True)),
        ]  # fmt: skip
        verdicts = [look["verdict"] for looks in of[variant] for look in looks[1:]]
        rows.append(Row(f"{trained} looks not resolved", float(np.mean([v == "unresolved" for v in verdicts]))))
        ratios = [look["lr / h*"] for looks in of[variant] for look in looks[1:] if math.isfinite(look["lr / h*"])]
        rows.append(Row(f"{trained} lr / h*, where there is one", ratios or "nowhere"))
    return rows


def _draw_plane(plane: Any, looks: list[dict[str, Any]], title: str) -> None:
    """Eigenvalues of each look over the look's largest modulus: later looks darker."""
    shades = np.linspace(0.25, 1.0, len(looks))
    angle = np.linspace(0, 2 * np.pi, 200)
    plane.plot(np.cos(angle), np.sin(angle), color="0.85", lw=0.8)
    plane.axvline(0, color="0.6", lw=0.8)
    for look, shade in zip(looks, shades, strict=True):
        values = np.array(_values(look))
        values = values / abs(values[0])
        label = f"{look['iteration']}"
        plane.scatter(values.real, values.imag, s=14, color=COLOURS[0], alpha=shade, linewidth=0, label=label)
    plane.set(title=title, xlabel="Re l / largest |l|", ylabel="Im l / largest |l|", aspect="equal")
    plane.legend(title="iteration", fontsize=6, title_fontsize=6, loc="upper right", bbox_to_anchor=(1.35, 1))


def _draw_along(axes: Any, runs: dict[Any, list[dict[str, Any]]], of: Callable[[Any], float], title: str) -> None:
    for place, (variant, colour) in enumerate(zip(VARIANTS, COLOURS, strict=False)):
        curves = [looks for (_, name, _), looks in runs.items() if name == variant]
        for number, looks in enumerate(curves):
            at = np.arange(len(looks)) + 0.1 * (place - 1)  # beside each other where values are the same
            axes.plot(at, [of(look) for look in looks], "o-", color=colour, ms=3, lw=0.8, alpha=0.8,
                      label=None if number else variant)  # fmt: skip
    axes.axhline(0, color="0.6", lw=0.8)
    axes.set_xticks(range(len(looks)), [look["iteration"] for look in looks])
    axes.set(title=f"{DIGITS}: {title}", xlabel="iteration")
    axes.legend(fontsize=7)
