"""GANs made to fail in a known way, and GANs made well: what is measured of them while they train."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from callbacks import Diagnosis, GameSpectrum, GradientHealth, SampleMetrics, WeightSpectrum
from callbacks.failures import Observation
from callbacks.metrics import (
    Authenticity,
    FrechetDistance,
    ManifoldCollapse,
    ModeCoverage,
    Pixels,
    PrecisionRecallDensityCoverage,
    VendiScore,
)
from datamodules import GaussianDataModule, GaussianMixtureDataModule, GridDataModule, PointDataModule, RingDataModule
from datamodules.base import GANDataModule
from datamodules.whitening import Standardize
from gan_modules import NSGAN, R1GAN, R3GAN, WGAN, WGANGP, Adam, DiracGAN, GANModule, HingeGAN, MinimaxGAN
from gan_modules.losses import NonSaturating, Wasserstein
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.penalties import R1, R2, WeightClipping
from gan_modules.rules import Alternating, Simultaneous
from studies.diagnosis_truth import (
    CYCLE,
    DIVERGENCE,
    HEALTHY,
    MANIFOLD,
    MEMORISATION,
    MODES,
    NUMERICAL,
    OVERFITTING,
    SPECTRAL,
    VANISHING,
    Fact,
    Witness,
    verdict,
)
from studies.kept import kept

# --- data -------------------------------------------------------------------------------------------------------------

POINT, RING, GAUSSIAN, CLOUD, NARROW = "point", "ring", "gaussian", "cloud", "narrow ring"
GRID, CUBE, MIXTURE = "grid", "cube", "mixture"
NARROW_CUBE, OTHER_RING, OTHER_GAUSSIAN, OTHER_CLOUD = "narrow cube", "other ring", "other gaussian", "other cloud"
FIVE, SEVEN, NARROW_SEVEN = "five modes", "ring of seven", "narrow ring of seven"
THIRD_GAUSSIAN, THIRD_CLOUD = "third gaussian", "third cloud"
DATA: dict[str, Callable[..., GANDataModule]] = {
    POINT: PointDataModule,
    RING: partial(RingDataModule, modes=8, std=0.1),
    NARROW: partial(RingDataModule, modes=8, std=0.04),
    GAUSSIAN: partial(GaussianDataModule, spectrum=(1.0, 0.5)),
    CLOUD: partial(GaussianDataModule, dimension=16, condition_number=4.0),
    GRID: partial(GridDataModule, side=3, spacing=1.0, std=0.1, whitening=Standardize()),
    NARROW_CUBE: partial(GridDataModule, side=2, dimension=3, spacing=1.0, std=0.07, whitening=Standardize()),
    CUBE: partial(GridDataModule, side=2, dimension=3, spacing=1.0, std=0.1, whitening=Standardize()),
    OTHER_RING: partial(RingDataModule, modes=6, std=0.06),
    OTHER_GAUSSIAN: partial(GaussianDataModule, spectrum=(2.0, 0.3), truth_seed=1),
    OTHER_CLOUD: partial(GaussianDataModule, dimension=12, condition_number=2.0, truth_seed=1),
    MIXTURE: partial(GaussianMixtureDataModule, modes=8, dimension=6, std=0.1, separation=2.0, whitening=Standardize()),
    FIVE: partial(
        GaussianMixtureDataModule, modes=5, dimension=3, std=0.1, separation=2.0, truth_seed=2, whitening=Standardize()
    ),
    SEVEN: partial(RingDataModule, modes=7, std=0.08),
    NARROW_SEVEN: partial(RingDataModule, modes=7, std=0.045),
    THIRD_GAUSSIAN: partial(GaussianDataModule, spectrum=(1.5, 0.4), truth_seed=2),
    THIRD_CLOUD: partial(GaussianDataModule, dimension=14, condition_number=3.0, truth_seed=2),
}
ONE_MODE = (GAUSSIAN, OTHER_GAUSSIAN, THIRD_GAUSSIAN, CLOUD, OTHER_CLOUD, THIRD_CLOUD)

# --- networks ---------------------------------------------------------------------------------------------------------


class LowRank(nn.Module):
    """Keeps a weight to a few fixed directions of its input: W P, with P an orthogonal projection of that rank."""

    projection: Tensor

    def __init__(self, size: int, rank: int) -> None:
        super().__init__()
        basis = torch.linalg.qr(torch.randn(size, rank))[0]
        self.register_buffer("projection", basis @ basis.T)

    def forward(self, weight: Tensor) -> Tensor:
        return weight @ self.projection


class Bank(nn.Module):
    """A generator that knows ``points`` points and nothing between them: the one whose score of z is the highest.

    Scores are a linear map's, softened so that points get gradients.
    """

    def __init__(self, shape: tuple[int, ...], points: int, latent_dim: int = 16, sharpness: float = 20.0) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.sharpness = sharpness
        self.register_buffer("keys", nn.functional.normalize(torch.randn(latent_dim, points), dim=0))
        self.points = nn.Parameter(torch.randn(points, *shape))

    def forward(self, z: Tensor) -> Tensor:
        keys: Tensor = self.keys  # type: ignore[assignment]
        return torch.softmax(self.sharpness * z @ keys, 1) @ self.points


def mlps(
    dimension: int,
    latent_dim: int = 8,
    width: tuple[int, int] = (64, 64),
    depth: tuple[int, int] = (3, 3),
    activation: tuple[str, str] = ("leaky_relu", "leaky_relu"),
    shift: float = 0.0,
    rank: tuple[int, int] = (0, 0),
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator; samples start shifted, and hidden layers act in ``rank`` directions if not 0."""
    g = MLPGenerator((dimension,), latent_dim, width[0], depth[0], activation=activation[0])
    d = MLPDiscriminator((dimension,), width[1], depth[1], activation=activation[1])
    with torch.no_grad():
        [m for m in g.modules() if isinstance(m, nn.Linear)][-1].bias.add_(shift)
    for player, directions in zip((g, d), rank, strict=True):
        for layer in [m for m in player.modules() if isinstance(m, nn.Linear)] if directions else []:
            if min(layer.weight.shape) > directions:
                parametrize.register_parametrization(layer, "weight", LowRank(layer.in_features, directions))
    return g, d


def banked(dimension: int, points: int, width: int = 128) -> tuple[nn.Module, nn.Module]:
    """A generator of a bank of points, and a discriminator."""
    return Bank((dimension,), points), MLPDiscriminator((dimension,), width, 3)


class Affine(nn.Module):
    """theta + z."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.latent_dim = dimension
        self.theta = nn.Parameter(torch.ones(dimension))

    def forward(self, z: Tensor) -> Tensor:
        return self.theta + z


class Linear(nn.Module):
    """psi . x."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.psi = nn.Parameter(torch.zeros(dimension))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.psi


def linear(dimension: int) -> tuple[nn.Module, nn.Module]:
    """A Gaussian that is moved, and a linear discriminator: the Dirac-GAN in more dimensions, on batches."""
    return Affine(dimension), Linear(dimension)


def none(dimension: int) -> tuple[nn.Module, ...]:
    """The game brings its own."""
    return ()


# --- cases ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rates:
    """Factors of the learning rates, generator's and discriminator's, that change in the course of a run.

    Attributes:
        before, after: the factors.
        at: share of the run after which they change, later by up to a fifth by the seed.
        over: share of the run in which they do, exponentially; 0 at once.
    """

    before: tuple[float, float] = (1.0, 1.0)
    after: tuple[float, float] = (1.0, 1.0)
    at: float = 0.4
    over: float = 0.0

    def factor(self, player: int, task: Task, iteration: int) -> float:
        passed = iteration / task.iterations - self.at - (0.2 * (task.seed * 0.618034 % 1) if not self.over else 0.0)
        if passed < 0:
            return self.before[player]
        if not self.over:
            return self.after[player]
        ratio = self.after[player] / self.before[player]
        return float(self.before[player] * ratio ** (passed / self.over))  # and on, past the end of the run


@dataclass(frozen=True)
class Case:
    """A way to train.

    Attributes:
        meant: the failure that it is made to lead to.
        make: the GAN of two networks, or of none.
        networks: from the number of coordinates.
        lr: of both players.
        beta1: of Adam, whose other is .9; SGD if None.
        weight_decay: of both.
        rates: how they change.
        train_size: of the data.
        batch: rows a step.
        toy: whether there are so few parameters that the game's spectrum is known whole.
        precision: as the Trainer has it.
        ema_decay: of the averaged generator.
        beyond: iterations for which it is trained on to see whether it diverges, as a share of the run.
        past: factor of the learning rates from there on.
    """

    meant: str
    make: Callable[..., GANModule]
    networks: Callable[[int], tuple[nn.Module, ...]] = mlps
    lr: tuple[float, float] = (1e-3, 1e-3)
    beta1: float | None = 0.0
    weight_decay: tuple[float, float] = (0.0, 0.0)
    rates: Rates = field(default_factory=Rates)
    train_size: int = 5000
    batch: int = 64
    toy: bool = False
    precision: Any = "32-true"
    ema_decay: float = 0.98
    beyond: float = 0.0
    past: float = 1.0

    @property
    def numbers(self) -> dict[str, Any]:
        """All but functions, for the record."""
        return {name: value for name, value in asdict(self).items() if name not in ("make", "networks")}


R1_, R3_ = partial(R1GAN, gamma=0.1), partial(R3GAN, gamma=0.1)
WGP = partial(WGANGP, gp_weight=1.0, rule=Alternating(n_critic=2))
DIRAC = partial(Case, networks=none, toy=True, beta1=None, batch=4, train_size=64, ema_decay=0.0)
SMALL = partial(mlps, latent_dim=2, width=(4, 6), depth=(1, 1), activation=("tanh", "tanh"))
LINEAR = partial(Case, networks=linear, toy=True, beta1=None, batch=256, ema_decay=0.0)


def dirac(loss: Any, gamma: float, rule: Any) -> Callable[..., GANModule]:
    return partial(DiracGAN, loss=loss, penalties=(R1(gamma),) if gamma else (), rule=rule)


def plain(loss: Any, gamma: float, rule: Any) -> Callable[..., GANModule]:
    return partial(GANModule, loss=loss, penalties=(R1(gamma),) if gamma else (), rule=rule)


_SIMULTANEOUS = Simultaneous()
CASES: dict[str, Case] = {
    # healthy
    "R1": Case(HEALTHY, R1_),
    "R3": Case(HEALTHY, R3_),
    "NS": Case(HEALTHY, NSGAN, beta1=0.5),
    "WGAN-GP": Case(HEALTHY, WGP),
    "small R1": Case(HEALTHY, R1_, SMALL, lr=(0.1, 0.1), beta1=None, toy=True),
    "Dirac R1": DIRAC(HEALTHY, dirac(None, 0.3, Alternating()), lr=(0.5, 0.5)),
    # vanishing gradient
    "minimax, D fast": Case(
        VANISHING,
        partial(MinimaxGAN, rule=Alternating(n_critic=5)),
        partial(mlps, shift=4.0),
        lr=(1e-3, 1e-2),
        beta1=0.5,
    ),
    "minimax, D first": Case(
        VANISHING, MinimaxGAN, partial(mlps, shift=2.0), lr=(1e-3, 3e-3), beta1=0.5, rates=Rates((0.0, 1.0), at=0.2)
    ),
    "minimax, SGD": Case(VANISHING, MinimaxGAN, partial(mlps, shift=3.0), lr=(0.05, 0.2), beta1=None),
    # discriminator overfitting
    "WGAN-GP, few rows": Case(OVERFITTING, WGP, partial(mlps, width=(32, 256)), train_size=128),
    "R1, few rows": Case(OVERFITTING, partial(R1GAN, gamma=0.01), partial(mlps, width=(32, 256)), train_size=100),
    "R3, few rows": Case(OVERFITTING, partial(R3GAN, gamma=0.01), partial(mlps, width=(32, 256)), train_size=128),
    # memorisation
    "R1, bank": Case(MEMORISATION, R1_, partial(banked, points=128), lr=(2e-2, 2e-3), train_size=128),
    "R3, bank": Case(MEMORISATION, R3_, partial(banked, points=160), lr=(2e-2, 2e-3), train_size=128),
    "WGAN-GP, bank": Case(MEMORISATION, WGP, partial(banked, points=128), lr=(2e-2, 2e-3), train_size=128),
    # limit cycle
    "Dirac NS": DIRAC(CYCLE, dirac(NonSaturating(), 0.0, _SIMULTANEOUS), lr=(0.1, 0.1)),
    "Dirac minimax, alternating": DIRAC(CYCLE, dirac(None, 0.0, Alternating()), lr=(0.1, 0.1)),
    "linear W": LINEAR(CYCLE, plain(Wasserstein(), 0.0, Alternating()), lr=(0.05, 0.05)),
    "NS, momentum": Case(CYCLE, NSGAN, lr=(3e-3, 3e-3), beta1=0.9),
    "minimax, momentum": Case(CYCLE, partial(MinimaxGAN, rule=_SIMULTANEOUS), lr=(3e-3, 3e-3), beta1=0.9),
    # divergence ahead
    "Dirac W, near h*": DIRAC(
        DIVERGENCE, dirac(Wasserstein(), 0.3, _SIMULTANEOUS), lr=(0.285, 0.285), beyond=1.0, past=1.2
    ),
    "linear W, near h*": LINEAR(
        DIVERGENCE, plain(Wasserstein(), 0.3, _SIMULTANEOUS), lr=(0.285, 0.285), beyond=1.0, past=1.2
    ),
    "R1, rates grow": Case(
        DIVERGENCE, R1_, lr=(0.05, 0.05), beta1=None, rates=Rates((1, 1), (18, 18), at=0.3, over=0.7), beyond=1.0
    ),
    "small R1, rates grow": Case(
        DIVERGENCE,
        R1_,
        SMALL,
        lr=(0.1, 0.1),
        beta1=None,
        toy=True,
        rates=Rates((1, 1), (10, 10), at=0.3, over=0.7),
        beyond=1.0,
    ),
    # mode collapse
    "R1, D stops": Case(MODES, R1_, rates=Rates((1, 1), (1, 0))),
    "minimax, D stops": Case(MODES, MinimaxGAN, rates=Rates((1, 1), (1, 0)), beta1=0.5),
    "R1, G x 50": Case(MODES, R1_, rates=Rates((1, 1), (50, 1))),
    # manifold collapse
    "R1, narrow G": Case(
        MANIFOLD, R1_, partial(mlps, latent_dim=1, width=(16, 64), depth=(2, 3), activation=("tanh", "leaky_relu"))
    ),
    "R3, smooth G": Case(
        MANIFOLD, R3_, partial(mlps, latent_dim=2, width=(8, 64), depth=(2, 3), activation=("tanh", "leaky_relu"))
    ),
    # spectral collapse
    "R1, D of rank 1": Case(SPECTRAL, R1_, partial(mlps, rank=(0, 1))),
    "R1, G of rank 1": Case(SPECTRAL, R1_, partial(mlps, rank=(1, 0))),
    "NS, clipped": Case(SPECTRAL, partial(NSGAN, constraint=WeightClipping(0.02)), beta1=0.5),
    "WGAN, clipped": Case(SPECTRAL, WGAN, lr=(1e-3, 1e-3)),
    # numerical trouble
    "W, no bound": Case(
        NUMERICAL, partial(GANModule, loss=Wasserstein(), rule=_SIMULTANEOUS), lr=(0.05, 0.05), beta1=None
    ),
    "R1, rates run away": Case(
        NUMERICAL, R1_, lr=(0.05, 0.05), beta1=None, rates=Rates((1, 1), (300, 300), at=0.3, over=0.7)
    ),
    "W, half precision": Case(NUMERICAL, partial(GANModule, loss=Wasserstein()), lr=(1e-2, 1e-2), precision="16-true"),
}
#: ways that no threshold was chosen on
UNSEEN_CASES: dict[str, Case] = {
    "R1, gamma 0.3": Case(HEALTHY, partial(R1GAN, gamma=0.3)),
    "Dirac W R1": DIRAC(HEALTHY, dirac(Wasserstein(), 0.5, Alternating()), lr=(0.2, 0.2)),
    "minimax, far": Case(
        VANISHING,
        partial(MinimaxGAN, rule=Alternating(n_critic=3)),
        partial(mlps, shift=5.0),
        lr=(1e-3, 1e-2),
        beta1=0.5,
    ),
    "hinge, few rows": Case(
        OVERFITTING,
        partial(HingeGAN, penalties=(R1(0.01),)),
        partial(mlps, width=(32, 256)),
        lr=(1e-3, 2e-3),
        train_size=100,
    ),
    "R2 and R1, bank": Case(
        MEMORISATION,
        partial(R1GAN, gamma=0.05, penalties=(R2(0.05),)),
        partial(banked, points=128),
        lr=(2e-2, 2e-3),
        train_size=128,
    ),
    "Dirac W, alternating": DIRAC(CYCLE, dirac(Wasserstein(), 0.0, Alternating()), lr=(0.05, 0.05)),
    "linear W, unequal rates": LINEAR(CYCLE, plain(Wasserstein(), 0.0, Alternating()), lr=(0.03, 0.12)),
    "Dirac W, gamma 0.5, near h*": DIRAC(
        DIVERGENCE, dirac(Wasserstein(), 0.5, _SIMULTANEOUS), lr=(0.48, 0.48), beyond=1.0, past=1.2
    ),
    "linear W, gamma 0.5, near h*": LINEAR(
        DIVERGENCE, plain(Wasserstein(), 0.5, _SIMULTANEOUS), lr=(0.48, 0.48), beyond=1.0, past=1.2
    ),
    "WGAN-GP, critic stops": Case(MODES, WGP, rates=Rates((1, 1), (1, 0))),
    "R3, D stops": Case(MODES, R3_, rates=Rates((1, 1), (1, 0))),
    "R3, narrow G": Case(
        MANIFOLD,
        R3_,
        partial(mlps, latent_dim=1, width=(24, 64), depth=(2, 3), activation=("silu", "leaky_relu")),
    ),
    "R1, smooth G": Case(
        MANIFOLD,
        R1_,
        partial(mlps, latent_dim=3, width=(12, 64), depth=(2, 3), activation=("silu", "leaky_relu")),
    ),
    "R3, D of rank 2": Case(SPECTRAL, R3_, partial(mlps, rank=(0, 2))),
    "hinge, clipped": Case(SPECTRAL, partial(HingeGAN, constraint=WeightClipping(0.02)), beta1=0.5),
    "NS, rates run away": Case(
        NUMERICAL, NSGAN, lr=(0.05, 0.05), beta1=None, rates=Rates((1, 1), (1000, 1000), at=0.3, over=0.7)
    ),
}
CASES |= UNSEEN_CASES

#: what thresholds may be chosen on
TUNING: tuple[tuple[str, str], ...] = (
    ("R1", RING), ("R3", RING), ("NS", RING), ("WGAN-GP", RING), ("NS", GAUSSIAN), ("R1", GAUSSIAN),
    ("Dirac R1", POINT), ("small R1", GAUSSIAN), ("R1", NARROW), ("minimax, D fast", RING), ("minimax, D first", RING),
    ("minimax, SGD", RING), ("R3, few rows", CLOUD), ("WGAN-GP, few rows", CLOUD), ("R1, few rows", CLOUD),
    ("R1, bank", CLOUD), ("R3, bank", CLOUD), ("Dirac NS", POINT), ("Dirac minimax, alternating", POINT),
    ("linear W", GAUSSIAN), ("NS, momentum", GAUSSIAN), ("minimax, momentum", GAUSSIAN), ("Dirac W, near h*", POINT),
    ("linear W, near h*", GAUSSIAN), ("R1, rates grow", RING), ("small R1, rates grow", GAUSSIAN),
    ("R1, D stops", RING), ("minimax, D stops", RING), ("R1, G x 50", RING), ("R1, narrow G", NARROW),
    ("R3, smooth G", NARROW), ("R1, D of rank 1", RING), ("R1, G of rank 1", RING), ("NS, clipped", RING),
    ("WGAN, clipped", RING), ("W, no bound", RING), ("R1, rates run away", RING), ("W, half precision", RING),
)  # fmt: skip

#: what the rules were judged by first: for each failure, and for none, ways and data that are taken in turn
FIRST: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("R1", CUBE), ("R3", MIXTURE), ("WGAN-GP", CUBE), ("R1, gamma 0.3", MIXTURE), ("R3", GRID), ("NS", CUBE),
        ("R1", OTHER_GAUSSIAN), ("Dirac W R1", POINT), ("R1, gamma 0.3", CUBE), ("R1", MIXTURE),
    ),
    (("minimax, D fast", MIXTURE), ("minimax, far", GRID)),
    (("WGAN-GP, few rows", OTHER_CLOUD), ("hinge, few rows", OTHER_CLOUD)),
    (("R3, bank", OTHER_CLOUD), ("R2 and R1, bank", OTHER_CLOUD)),
    (("Dirac W, alternating", POINT), ("linear W, unequal rates", OTHER_GAUSSIAN), ("NS, momentum", OTHER_GAUSSIAN)),
    (
        ("Dirac W, gamma 0.5, near h*", POINT), ("linear W, gamma 0.5, near h*", OTHER_GAUSSIAN),
        ("small R1, rates grow", OTHER_GAUSSIAN),
    ),
    (("WGAN-GP, critic stops", GRID), ("R3, D stops", MIXTURE)),
    (("R3, narrow G", OTHER_RING), ("R1, smooth G", NARROW_CUBE)),
    (("R3, D of rank 2", GRID), ("hinge, clipped", MIXTURE)),
    (("W, no bound", GRID), ("NS, rates run away", MIXTURE)),
)  # fmt: skip
#: and after two rules were changed
SECOND: tuple[tuple[tuple[str, str], ...], ...] = (
    (
        ("R1", FIVE), ("R3", SEVEN), ("WGAN-GP", FIVE), ("R1, gamma 0.3", SEVEN), ("R3", FIVE), ("NS", SEVEN),
        ("R1", THIRD_GAUSSIAN), ("Dirac W R1", POINT), ("R1, gamma 0.3", FIVE), ("R3", MIXTURE),
    ),
    (("minimax, D fast", FIVE), ("minimax, far", SEVEN)),
    (("WGAN-GP, few rows", THIRD_CLOUD), ("hinge, few rows", THIRD_CLOUD)),
    (("R3, bank", THIRD_CLOUD), ("R2 and R1, bank", THIRD_CLOUD)),
    (("Dirac W, alternating", POINT), ("linear W, unequal rates", THIRD_GAUSSIAN), ("NS, momentum", THIRD_GAUSSIAN)),
    (
        ("Dirac W, gamma 0.5, near h*", POINT), ("linear W, gamma 0.5, near h*", THIRD_GAUSSIAN),
        ("small R1, rates grow", THIRD_GAUSSIAN),
    ),
    (("WGAN-GP, critic stops", SEVEN), ("R3, D stops", FIVE)),
    (("R3, narrow G", NARROW_SEVEN), ("R1, smooth G", NARROW_SEVEN)),
    (("R3, D of rank 2", SEVEN), ("hinge, clipped", FIVE)),
    (("W, no bound", SEVEN), ("NS, rates run away", FIVE)),
)  # fmt: skip

# --- a run ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One training run: all that decides its outcome.

    Attributes:
        case: one of CASES.
        data: one of DATA.
        seed: of networks, latents and order of the data; it also decides when rates change.
        iterations, every: of the run, and between two looks.
        samples: of each evaluation.
    """

    case: str
    data: str
    seed: int
    iterations: int = 1200
    every: int = 100
    samples: int = 1000

    @property
    def name(self) -> str:
        letters = "".join(c if c.isalnum() else "-" for c in self.case)
        return f"{letters}-{self.data}-{self.seed}"

    @property
    def of(self) -> Case:
        return CASES[self.case]

    def datamodule(self) -> GANDataModule:
        sizes: dict[str, Any] = {"epoch_iterations": self.iterations}
        if self.data == POINT:
            sizes |= {"size": 64}
        else:
            sizes |= {"train_size": self.of.train_size, "val_size": self.samples, "data_seed": self.seed}
        return DATA[self.data](batch_size=self.of.batch, seed=self.seed, **sizes)

    def game(self, dimension: int) -> GANModule:
        case = self.of
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            settings: dict[str, Any] = {}
            for player, name in enumerate(("generator", "discriminator")):
                settings[f"{name}_optimizer"] = _optimizer(case, player)
                settings[f"{name}_scheduler"] = partial(LambdaLR, lr_lambda=partial(self._factor, player))
            if case.networks is none:
                start = torch.randn(2).tolist()
                settings |= {"theta": 1.0 + 0.2 * start[0], "psi": 0.2 * start[1]}
            return case.make(*case.networks(dimension), ema_decay=case.ema_decay, seed=self.seed, **settings)

    def _factor(self, player: int, iteration: int) -> float:
        past = self.of.past if iteration > self.iterations else 1.0  # the last look is at the rates of the run
        return past * self.of.rates.factor(player, self, iteration)


def _optimizer(case: Case, player: int) -> Callable[..., Any]:
    lr, decay = case.lr[player], case.weight_decay[player]
    if case.beta1 is None:
        return partial(SGD, lr=lr, weight_decay=decay)
    return partial(Adam, lr=lr, beta1=case.beta1, beta2=0.9, weight_decay=decay)


def diagnostics(task: Task) -> list[Callback]:
    """All that Diagnosis reads, at every validation."""
    looks: list[Callback] = [GradientHealth(budget=None), WeightSpectrum(budget=None)]
    if task.of.toy:  # in networks a look takes as long as hundreds of iterations: its budget would not pay for one
        looks.append(GameSpectrum(budget=None, picture=False))
    if task.data != POINT:
        metrics = [
            FrechetDistance(), PrecisionRecallDensityCoverage(), VendiScore(), ModeCoverage(), Authenticity(),
        ]  # fmt: skip
        if task.data not in ONE_MODE:
            metrics.append(ManifoldCollapse())
        looks.append(SampleMetrics(Pixels(), n_samples=task.samples, metrics=metrics, cache_dir=""))
    return looks


@dataclass(frozen=True)
class Recorded:
    """A run as it was kept.

    Attributes:
        task: what was run.
        observations: what Diagnosis read.
        facts, path: what the truth says, see diagnosis_truth.Witness.
        ended: the error that ended the run, or "".
        beyond: whether it diverged when trained on.
    """

    task: Task
    observations: list[Observation]
    facts: list[Fact]
    path: list[list[float]]
    ended: str
    beyond: bool

    @property
    def shows(self) -> str:
        """The failure that it was made to show, HEALTHY, or NEITHER."""
        return verdict(self.task.of.meant, self.facts, self.path, self.ended, self.beyond)


def recorded(task: Task, root: Path) -> Recorded:
    """Train; a run whose file is there is not repeated."""

    def train() -> dict[str, Any]:
        diagnosis, witness = Diagnosis(), Witness()
        ended = _train(task, task.iterations, root, [*diagnostics(task), diagnosis, witness])
        return {
            "observations": [[o.iteration, dict(o.values)] for o in diagnosis.history],
            "facts": witness.facts,
            "path": witness.path,
            "ended": ended,
            "beyond": bool(task.of.beyond) and not ended and _diverges(task, witness, root),
        }

    found = kept(root / f"{task.name}.json", asdict(task) | task.of.numbers, train)
    observations = [Observation(iteration, values) for iteration, values in found.pop("observations")]
    return Recorded(task, observations, **found)


def _train(task: Task, iterations: int, root: Path, looks: list[Callback]) -> str:
    data = task.datamodule()
    trainer = Trainer(
        max_steps=iterations,
        check_val_every_n_epoch=None,
        val_check_interval=task.every,
        log_every_n_steps=25,
        num_sanity_val_steps=0,
        callbacks=looks,
        default_root_dir=root / "lightning",
        accelerator="cpu",
        precision=task.of.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            trainer.fit(task.game(math.prod(data.shape)), datamodule=data)
        except FloatingPointError as error:
            return str(error)
    return ""


def _diverges(task: Task, until: Witness, root: Path) -> bool:
    """Whether the same run, trained on, leaves its numbers or goes ten times as far as it ever was."""
    witness = Witness()
    if _train(task, round(task.iterations * (1 + task.of.beyond)), root, [witness]):
        return True
    distance = [max(map(abs, point)) for point in witness.path]
    split = len(until.path)
    late = max(distance[split:])
    return not math.isfinite(late) or late > 10 * max(*distance[split // 2 : split], 0.01)
