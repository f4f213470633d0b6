"""As D nears its best, minimax's gradient for G vanishes, the non-saturating one stays or grows, Wasserstein's stays 1.

By formula on Gaussians, through the library's own losses, and by networks: a discriminator is trained for longer and
longer against a generator that stands still, and the generator's gradient is read off it. Minimax and the
non-saturating loss have the same discriminator, and it is the same network that both are read off (Goodfellow et al.,
2014, section 3; Arjovsky and Bottou, 2017, theorems 2.4 and 2.6). Which loss G has is all that differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import quad
from scipy.stats import norm
from torch import Tensor, nn

from datamodules import DigitsDataModule
from gan_modules.batch import GameBatch, key
from gan_modules.dirac_gan import DiracGenerator
from gan_modules.discriminator_pass import Logits
from gan_modules.dynamics import Play
from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, Minimax, NonSaturating, Wasserstein
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.optimizers import Adam
from gan_modules.penalties import GradientPenalty, Penalty
from gan_modules.protocols import DISCRIMINATOR
from gan_modules.rules import Alternating
from studies.harness import COLOURS, Findings, Row, Run, Study, mean_and_interval, panels

MINIMAX, NON_SATURATING, WASSERSTEIN = "minimax", "non-saturating", "Wasserstein"
LOSSES: dict[str, AdversarialLoss] = {
    MINIMAX: Minimax(),
    NON_SATURATING: NonSaturating(),
    WASSERSTEIN: Wasserstein(),
}
#: a discriminator's loss and penalties, and the generator's losses that are read off it
DISCRIMINATORS: tuple[tuple[AdversarialLoss, tuple[Penalty, ...], tuple[str, ...]], ...] = (
    (Minimax(), (), (MINIMAX, NON_SATURATING)),
    (Wasserstein(), (GradientPenalty(10.0),), (WASSERSTEIN,)),
)
#: data N(0, 1), generator N(m, 1), D at its best: |d loss / d m| of minimax and non-saturating, and JS in nats
TABLE = {
    1: ("0.398", "0.602", "0.1114"),
    4: ("0.137", "3.86", "0.6327"),
    6: ("0.01245", "5.99", "0.6893"),
    8: ("3.93e-4", "8.00", "0.69305"),
    10: ("4.46e-6", "10.0", "0.69315"),
}

# --- by formula -------------------------------------------------------------------------------------------------------


def best_logits(x: Tensor, m: float) -> Tensor:
    """Log p(x) / q(x), the logits of the best discriminator of p = N(0, 1) from q = N(m, 1)."""
    return m * m / 2 - m * x


def through_the_losses(m: float) -> dict[str, float]:
    """|d loss / d m| of each generator's loss, and JS, by quadrature over rows z of weight phi(z)."""
    z = torch.linspace(-14, 14, 8001, dtype=torch.float64)
    weights = torch.as_tensor(norm.pdf(z)) * (z[1] - z[0])

    def expected(term: Callable[[Any], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        # a loss is a mean over rows, here of unequal weights: take it row by row
        rows = torch.vmap(lambda r, f: term(Logits(r, f)))(real[:, None], fake[:, None])
        return (weights * rows).sum()

    found = {}
    for name, loss in LOSSES.items():
        theta = torch.tensor(float(m), dtype=torch.float64, requires_grad=True)
        x = theta + z
        fake = -x if name == WASSERSTEIN else best_logits(x, m)  # the best of slope 1
        (slope,) = torch.autograd.grad(expected(loss.generator, fake, fake), theta)
        found[name] = abs(float(slope))
    value = expected(LOSSES[MINIMAX].discriminator, best_logits(z, m), best_logits(m + z, m))
    return found | {"JS": math.log(2) - float(value) / 2}


def by_integrals(m: float) -> dict[str, float]:
    """The same from densities: m int p q / (p + q), m less that, and JS by its definition."""

    def integral(of: Callable[[float, float], float]) -> float:
        inner = (0.0, m / 2, float(m))
        value, _ = quad(
            lambda x: of(norm.logpdf(x), norm.logpdf(x, m)),
            -12,
            m + 12,
            points=inner,
            epsabs=0,
            epsrel=1e-10,
            limit=400,
        )
        return float(value)

    shared = integral(lambda p, q: math.exp(p + q - np.logaddexp(p, q)))
    excess = integral(lambda p, q: math.exp(p) * np.logaddexp(0, q - p) + math.exp(q) * np.logaddexp(0, p - q))
    return {MINIMAX: m * shared, NON_SATURATING: m * (1 - shared), WASSERSTEIN: 1.0, "JS": math.log(2) - excess / 2}


def formulas() -> list[Row]:
    rows, deviations = [], []
    for m, printed in TABLE.items():
        measured, integrals = through_the_losses(m), by_integrals(m)
        deviations.append(max(abs(measured[name] / integrals[name] - 1) for name in measured))
        for name, word in zip((MINIMAX, NON_SATURATING, "JS"), printed, strict=True):
            last = float(Decimal(1).scaleb(int(Decimal(word).as_tuple().exponent)))
            rows.append(Row(f"Gaussians, shift {m}, formula: {name}", measured[name], float(word), 0.51 * last))
        rows.append(Row(f"Gaussians, shift {m}, formula: Wasserstein", measured[WASSERSTEIN], 1.0, 1e-9))
    # p q / (p + q) = sqrt(p q) sech(m u / 2) / 2 about the middle, u = x - m/2, sqrt(p q) = exp(-m^2/8) phi(u)
    m = max(TABLE)
    asymptote = math.sqrt(math.pi / 2) * math.exp(-(m**2) / 8)
    series = 1 - math.pi**2 / (2 * m**2) + 5 * math.pi**4 / (8 * m**4)
    return [
        *rows,
        Row("Gaussians: largest relative deviation from integrals of densities", deviations, 1e-6, relation="<="),
        Row(
            f"minimax, shift {m}, / (sqrt(pi/2) exp(-m^2/8))", through_the_losses(m)[MINIMAX] / asymptote, series, 2e-3
        ),
    ]


# --- by networks ------------------------------------------------------------------------------------------------------


@dataclass
class Reading:
    """What a generator's loss gives it, off a discriminator as it stands.

    Attributes:
        norm: |d loss / d theta| on all rows, theta the generator's parameters.
        sample: mean over rows of |d loss_i / d G(z_i)|.
        noise: root mean square distance of the gradients of eighths of the rows from their mean, over its norm.
    """

    norm: float
    sample: float
    noise: float


@dataclass
class Course:
    """Readings as the discriminator learns.

    Attributes:
        readings: by loss, at every mark.
        accuracy: of the logistic discriminator on held-out data and fresh fakes, at every mark.
        loss: its loss there.
    """

    readings: dict[str, list[Reading]]
    accuracy: list[float]
    loss: list[float]

    def of(self, name: str, what: str, mark: int = -1) -> float:
        return float(getattr(self.readings[name][mark], what))


def read(loss: AdversarialLoss, game: GANModule, batch: GameBatch) -> Reading:
    def gradient(rows: slice) -> tuple[Tensor, Tensor]:
        fake = game.generator(batch.z[rows])
        value = loss.generator(Logits(batch.real, game.discriminator(fake)))  # type: ignore[arg-type]
        at_samples, *at_parameters = torch.autograd.grad(value, [fake, *game.generator.parameters()])
        return len(fake) * at_samples.flatten(1), torch.cat([g.reshape(-1) for g in at_parameters])

    samples, whole = gradient(slice(None))
    size = len(batch.z) // 8
    parts = torch.stack([gradient(slice(i * size, (i + 1) * size))[1] for i in range(8)])
    centre = parts.mean(0)
    noise = (parts - centre).square().sum(1).mean().sqrt() / centre.norm()
    return Reading(float(whole.norm()), float(samples.norm(dim=1).mean()), float(noise))


@dataclass(frozen=True)
class VanishingGradient(Study):
    """Networks of 2 hidden layers, D by Adam (0.5, 0.9) on fresh batches.

    Attributes:
        shifts: of the Gaussians on which networks are trained.
        gaussian_steps: of D there, whose 64 units are softplus.
        rows: Gaussian rows a step.
        probes: fresh latents that the Gaussian gradients are read on.
        marks: steps of D at which gradients on digits are read.
        early: iterations of training of the early generator.
        batch: digits a step.
        width: of the networks on digits.
        lr: learning rate.
    """

    shifts: tuple[int, ...] = (1, 4, 6)
    gaussian_steps: int = 200
    rows: int = 512
    probes: int = 20_000
    marks: tuple[int, ...] = (0, 3, 10, 30, 100, 300, 1000)
    early: int = 300
    batch: int = 128
    width: int = 128
    lr: float = 1e-3

    FULL: ClassVar[dict[str, Any]] = {
        "seeds": 20,
        "gaussian_steps": 1000,
        "marks": (0, 3, 10, 30, 100, 300, 1000, 3000),
    }

    def measure(self, run: Run) -> Findings:
        digits: dict[str, list[Course]] = {}
        gaussians: dict[int, list[Course]] = {}
        for m in run.track(self.shifts, "Gaussians"):
            gaussians[m] = [self._gaussians(m, seed) for seed in range(self.seeds)]
        for seed in run.track(range(self.seeds), "digits"):
            for kind, iterations in (("untrained", 0), ("early", self.early)):
                digits.setdefault(kind, []).append(self._digits(iterations, seed))
        rows = formulas()
        for m, courses in gaussians.items():
            expected = by_integrals(m)
            for name in LOSSES:
                ratios = [course.of(name, "norm") / expected[name] for course in courses]
                rows.append(Row(f"Gaussians, shift {m}, networks: {name} / formula", ratios, 1.0, 0.5, on_mean=True))
        for kind, courses in digits.items():
            rows += self._judged(f"digits, {kind} G", courses)
        return Findings(rows, (gaussians, digits))

    def _judged(self, where: str, courses: Sequence[Course]) -> list[Row]:
        late = next(k for k, mark in enumerate(self.marks) if mark >= 100)  # when every D tells data from fakes

        def each(name: str, what: str, over: int | None = None) -> list[float]:
            return [c.of(name, what) / (1.0 if over is None else c.of(name, what, over)) for c in courses]

        after, since = f"after {self.marks[-1]} steps of D", f"/ after {self.marks[late]}"
        return [
            Row(f"{where}: D's accuracy, held out, {after}", [c.accuracy[-1] for c in courses], 0.99, relation=">="),
            Row(f"{where}: gradient / at the start, minimax", each(MINIMAX, "norm", 0), 1e-2, relation="<="),
            Row(
                f"{where}: gradient / at the start, non-saturating", each(NON_SATURATING, "norm", 0), 1.0, relation=">="
            ),
            Row(f"{where}: gradient {since}, minimax", each(MINIMAX, "norm", late), 1e-2, relation="<="),
            Row(f"{where}: gradient {since}, non-saturating", each(NON_SATURATING, "norm", late), 1.0, relation=">="),
            Row(f"{where}: gradient {since}, Wasserstein", each(WASSERSTEIN, "norm", late), 1.0, 0.5),
            *(
                Row(f"{where}: gradient a sample, {name}", each(name, "sample"), *bound)
                for name, bound in SAMPLE.items()
            ),
            *(Row(f"{where}: relative noise of the gradient, {name}", each(name, "noise")) for name in LOSSES),
        ]

    # --- training -------------------------------------------------------------------------------------------------

    def _adam(self, parameters: Any) -> torch.optim.Optimizer:
        return Adam(parameters, lr=self.lr, beta1=0.5, beta2=0.9)

    def _course(
        self,
        generator: nn.Module,
        discriminator: Callable[[], nn.Module],
        draw: Callable[[int], Tensor],
        marks: Sequence[int],
        held_out: Tensor,
        probes: int,
        lr: float,
        seed: int,
    ) -> Course:
        course = Course({name: [] for name in LOSSES}, [], [])
        for loss, penalties, names in DISCRIMINATORS:
            with torch.random.fork_rng():
                torch.manual_seed(key("discriminator", seed))
                game = GANModule(generator, discriminator(), loss=loss, penalties=penalties, ema_decay=0.0, seed=seed)
            play = Play(game, Alternating(), (self._adam, self._adam))
            for group in play.optimizers[DISCRIMINATOR].param_groups:
                group["lr"] = lr
            fresh = torch.Generator().manual_seed(key("probes", seed))
            z = torch.randn(probes, game.latent_dim, generator=fresh)
            probe = GameBatch(held_out, z, game.game_batch(held_out).random)
            for k in range(marks[-1] + 1):
                if k in marks:
                    for name in names:
                        course.readings[name].append(read(LOSSES[name], game, probe))
                    if MINIMAX in names:
                        accuracy, value = judge(game, probe)
                        course.accuracy.append(accuracy)
                        course.loss.append(value)
                game.gradient(DISCRIMINATOR, game.game_batch(draw(k), iteration=k))
                play.handles[DISCRIMINATOR].step()
        return course

    def _gaussians(self, m: int, seed: int) -> Course:
        def draw(k: int) -> Tensor:
            numbers = torch.Generator().manual_seed(key("gaussians", seed, k))
            return torch.randn(self.rows, 1, generator=numbers, dtype=torch.float64)

        def discriminator() -> nn.Module:
            return MLPDiscriminator((1,), width=64, depth=2, activation="softplus").double()

        marks = (0, self.gaussian_steps)
        return self._course(DiracGenerator(m, 1.0), discriminator, draw, marks, draw(-1), self.probes, 3e-3, seed)

    def _digits(self, iterations: int, seed: int) -> Course:
        data = DigitsDataModule(batch_size=self.batch)
        train, held_out = data.load("train")[0], data.load("val")[0]

        def draw(k: int) -> Tensor:
            numbers = torch.Generator().manual_seed(key("digits", seed, k))
            return train[torch.randint(len(train), (self.batch,), generator=numbers)]

        def discriminator() -> nn.Module:
            return MLPDiscriminator((1, 8, 8), width=self.width, depth=2)

        with torch.random.fork_rng():
            torch.manual_seed(key("generator", seed))
            generator = MLPGenerator((1, 8, 8), latent_dim=16, width=self.width, depth=2, output="sigmoid")
            rival = discriminator()
        game = GANModule(generator, rival, loss=NonSaturating(), ema_decay=0.0, seed=seed)
        play = Play(game, Alternating(), (self._adam, self._adam), lambda k: game.game_batch(draw(-1 - k), iteration=k))
        for _ in range(iterations):
            play.step()
        return self._course(generator, discriminator, draw, self.marks, held_out, len(held_out), self.lr, seed)

    # --- figure -----------------------------------------------------------------------------------------------------

    def figure(self, findings: Findings) -> Figure:
        figure, axes = panels(2, 2, height=3.2)
        gaussians, digits = findings.data
        colours = dict(zip(LOSSES, (COLOURS[1], COLOURS[4], COLOURS[0]), strict=True))
        self._formulas(axes[0, 0], gaussians, colours)
        for ax, (kind, courses) in zip((axes[0, 1], axes[1, 0]), digits.items(), strict=True):
            for name, colour in colours.items():
                for course in courses:
                    ax.plot(self.marks, [r.norm for r in course.readings[name]], color=colour, lw=0.9, alpha=0.8)
            ax.set(title=f"digits, {kind} generator, each seed", xlabel="steps of D", ylabel="|dL / dtheta|",
                   yscale="log", xlim=(0, None))  # fmt: skip
            ax.set_xscale("symlog", linthresh=3)
        ax = axes[1, 1]
        for kind, marker in (("untrained", "o"), ("early", "^")):
            for name, colour in colours.items():
                points = [(c.loss[k], c.readings[name][k].sample) for c in digits[kind] for k in range(len(self.marks))]
                ax.plot(*np.array(points).T, marker, ms=3, color=colour, alpha=0.6)
            ax.plot([], [], marker, color="0.4", label=f"{kind} generator")
        ax.set(title="digits: as D gets better", xlabel="held-out loss of the logistic D after as many steps",
               ylabel="|dL / dG(z)| a sample", xscale="log", yscale="log")  # fmt: skip
        ax.invert_xaxis()
        ax.legend(loc="lower left", fontsize=8)
        return figure

    @staticmethod
    def _formulas(ax: Any, gaussians: dict[int, list[Course]], colours: dict[str, str]) -> None:
        shifts = np.linspace(0.5, 10, 39)
        curves = [by_integrals(float(m)) for m in shifts]
        for i, (name, colour) in enumerate(colours.items()):
            ax.plot(shifts, [curve[name] for curve in curves], color=colour, label=name)
            if name != WASSERSTEIN:
                ax.plot(list(TABLE), [float(row[i]) for row in TABLE.values()], "o", color=colour, ms=5, mfc="none")
            for m, courses in gaussians.items():
                mean, half = mean_and_interval([course.of(name, "norm") for course in courses])
                ax.errorbar(m, mean, half, color=colour, fmt="x", ms=6, capsize=2)
        ax.plot([], [], "o", color="0.4", mfc="none", label="reference")
        ax.plot([], [], "x", color="0.4", label="trained D")
        ax.set(title="Gaussians: best D by formula, trained D", xlabel="shift m", ylabel="|dL / dm|", yscale="log",
               ylim=(1e-6, 30))  # fmt: skip
        ax.legend(fontsize=8, loc="lower left")


#: what is expected of the mean gradient at a sample, in data space
SAMPLE: dict[str, tuple[Any, ...]] = {MINIMAX: (1e-3, 0.0, "<="), NON_SATURATING: (), WASSERSTEIN: (1.0, 0.5)}


@torch.no_grad()
def judge(game: GANModule, batch: GameBatch) -> tuple[float, float]:
    """Accuracy, and the logistic loss, of D on real rows and fakes."""
    real, fake = game.discriminator(batch.real), game.discriminator(game.generator(batch.z))
    right = ((real > 0).double().mean() + (fake < 0).double().mean()) / 2
    return float(right), float(LOSSES[MINIMAX].discriminator(Logits(real, fake)))  # type: ignore[arg-type]
