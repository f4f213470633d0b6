"""GANs that lose modes and GANs that don't: what metrics say at each evaluation, and what the truth says."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim.lr_scheduler import LambdaLR

from callbacks import CollapseAlarm, SampleMetrics
from callbacks.metrics import Pixels, PrecisionRecallDensityCoverage, VendiScore
from datamodules import GaussianMixtureDataModule, GridDataModule, RingDataModule
from datamodules.synthetic import SyntheticDataModule
from datamodules.whitening import Standardize
from gan_modules import NSGAN, R1GAN, R3GAN, WGANGP, Adam, GANModule, MinimaxGAN
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.rules import Alternating
from studies.kept import kept

RING, GRID, MIXTURE, CUBE, OTHER = "ring", "grid", "mixture", "cube", "other mixture"
_MIXTURE = partial(GaussianMixtureDataModule, modes=10, dimension=6, std=0.1, separation=2.0)
DATA: dict[str, Callable[..., SyntheticDataModule]] = {
    RING: partial(RingDataModule, modes=8, std=0.05),
    GRID: partial(GridDataModule, side=4, spacing=1.0, std=0.08, whitening=Standardize()),
    MIXTURE: partial(_MIXTURE, whitening=Standardize()),
    CUBE: partial(GridDataModule, side=2, dimension=3, spacing=1.0, std=0.08, whitening=Standardize()),
    OTHER: partial(_MIXTURE, truth_seed=1, whitening=Standardize()),
}
QUANTITIES = ("coverage", "recall", "vendi")
#: samples that are assigned to modes, of another sequence than the metrics'
JUDGED = 2000
#: a mode is there if it has this share of its weight in the data
PRESENT = 0.2


@dataclass(frozen=True)
class Case:
    """A way to train, and what is changed in the course of it.

    Attributes:
        make: the GAN of two networks.
        rates: factors of both players' learning rates, generator's first, from some iteration on.
        decay: the factors set in exponentially, to be reached after so many iterations; at once if 0.
        lr: of both players before.
        beta1: of Adam, whose other is .9.
    """

    make: Callable[..., GANModule]
    rates: tuple[float, float] = (1.0, 1.0)
    decay: int = 0
    lr: tuple[float, float] = (1e-3, 1e-3)
    beta1: float = 0.0

    def optimizers(self, change_at: int) -> dict[str, Any]:
        """Optimizers and schedulers of both players, as a GAN takes them."""
        found: dict[str, Any] = {}
        for player, lr, factor in zip(("generator", "discriminator"), self.lr, self.rates, strict=True):
            found[f"{player}_optimizer"] = partial(Adam, lr=lr, beta1=self.beta1, beta2=0.9)
            found[f"{player}_scheduler"] = partial(LambdaLR, lr_lambda=partial(self._factor, factor, change_at))
        return found

    @property
    def numbers(self) -> dict[str, Any]:
        """All but the GAN, for the record."""
        return {name: value for name, value in vars(self).items() if name != "make"}

    def _factor(self, factor: float, change_at: int, iteration: int) -> float:
        if iteration < change_at:
            return 1.0
        return factor ** min(1.0, (iteration - change_at) / self.decay) if self.decay else factor


R1, R3 = partial(R1GAN, gamma=0.1), partial(R3GAN, gamma=0.1)
CASES = {
    # meant to stay
    "R1": Case(R1),
    "R3": Case(R3),
    "NS": Case(NSGAN, beta1=0.5),
    "minimax": Case(MinimaxGAN, beta1=0.5),
    "R3, rates / 5": Case(R3, rates=(0.2, 0.2)),
    "R1, rates x 2": Case(R1, rates=(2.0, 2.0)),
    "NS, D x 10 faster": Case(NSGAN, lr=(3e-4, 3e-3), beta1=0.5),
    # meant to lose modes, or everything
    "R1, D stops": Case(R1, rates=(1.0, 0.0)),
    "R3, D stops": Case(R3, rates=(1.0, 0.0)),
    "minimax, D stops": Case(MinimaxGAN, rates=(1.0, 0.0), beta1=0.5),
    "R1, D fades": Case(R1, rates=(1.0, 1e-4), decay=100),
    "R1, G x 20": Case(R1, rates=(20.0, 1.0)),
    "NS, rates x 30": Case(NSGAN, rates=(30.0, 30.0), beta1=0.5),
    # never learns
    "NS, momentum": Case(NSGAN, lr=(3e-3, 3e-3), beta1=0.9),
}
WGP = partial(WGANGP, gp_weight=1.0, rule=Alternating(n_critic=2))
#: what no threshold was tuned on
UNSEEN = {
    "WGAN-GP": Case(WGP),
    "WGAN-GP, critic stops": Case(WGP, rates=(1.0, 0.0)),
    "R3, rates grow": Case(R3, rates=(100.0, 100.0), decay=400),
}


@dataclass(frozen=True)
class Task:
    """One training run: all that decides its outcome but the alarm.

    Attributes:
        case: one of CASES or UNSEEN.
        data: one of DATA.
        seed: of networks, latents and order of the data; it also decides when the rates change, within the third fifth
            of the run.
        iterations, every: of the run, and between two evaluations.
        batch: rows a step.
        width: of three hidden layers.
        samples: of each evaluation.
    """

    case: str
    data: str
    seed: int
    iterations: int = 1500
    every: int = 50
    batch: int = 64
    width: int = 64
    samples: int = 1000

    @property
    def name(self) -> str:
        return f"{self.data}-{self.seed}-{self.case}".replace(" ", "").replace("/", "over").replace(",", "-")

    @property
    def change_at(self) -> int:
        return round(self.iterations * (0.4 + 0.2 * (self.seed * 0.618034 % 1)))

    def datamodule(self) -> SyntheticDataModule:
        sizes = {"train_size": 20_000, "val_size": self.samples, "epoch_iterations": self.iterations}
        return DATA[self.data](batch_size=self.batch, seed=self.seed, **sizes)

    def game(self, dimension: int) -> GANModule:
        case = (CASES | UNSEEN)[self.case]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return case.make(
                MLPGenerator((dimension,), latent_dim=8, width=self.width, depth=3),
                MLPDiscriminator((dimension,), width=self.width, depth=3),
                ema_decay=0.98,
                seed=self.seed,
                **case.optimizers(self.change_at),
            )


class _Record(Callback):
    """At each evaluation, what was logged, the modes that are there, and the last checkpoint from before."""

    def __init__(self, alarm: CollapseAlarm) -> None:
        self.alarm = alarm
        self.rows: list[dict[str, float]] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        names = [*QUANTITIES, *(f"{name}_floor" for name in QUANTITIES)]
        names += [name for name in logged if name.startswith("collapse/")]
        self.rows.append(
            {name: logged[name] for name in names}
            | {"iteration": float(trainer.global_step), "modes": float(_present(trainer, pl_module))}
            | {"before": float(self.alarm.before or 0)}
        )


def _present(trainer: Trainer, game: Any) -> int:
    """Number of modes that have PRESENT of their weight among fresh samples."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    modes = data.truth.assign(data.decode(game.sample(JUDGED, seed=99)))
    counts = torch.bincount(modes + 1, minlength=data.truth.num_modes + 1)[1:]
    return int((counts >= PRESENT * data.truth.weights * JUDGED).sum())


def recorded(task: Task, root: Path, alarm: CollapseAlarm, settings: dict[str, Any]) -> list[dict[str, float]]:
    """Train with the alarm, whose settings are given beside it; a run whose file is there is not repeated."""

    def train() -> list[dict[str, float]]:
        data, record = task.datamodule(), _Record(alarm)
        metrics = SampleMetrics(
            Pixels(), n_samples=task.samples, metrics=[PrecisionRecallDensityCoverage(), VendiScore()], cache_dir=""
        )
        trainer = Trainer(
            max_steps=task.iterations,
            check_val_every_n_epoch=None,
            val_check_interval=task.every,
            num_sanity_val_steps=0,
            callbacks=[metrics, alarm, record],
            default_root_dir=root / task.name,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(task.game(data.truth.dimension), datamodule=data)
        return record.rows

    rows: list[dict[str, float]] = kept(
        root / f"{task.name}.json", asdict(task) | (CASES | UNSEEN)[task.case].numbers | settings, train
    )
    return rows


# --- what the truth says of it ----------------------------------------------------------------------------------------

COLLAPSED, INTACT, BETWEEN = "collapsed", "intact", "in between"


def losses(modes: Sequence[float], num_modes: int) -> list[float]:
    """For each evaluation but the last, the share of modes lost there and at the next, of the most there had been.

    The most is the highest number that two successive evaluations had before; below half of all modes it is not enough
    to lose any.
    """
    found, most = [], 0.0
    for pair in pairwise(modes):
        found.append(max(0.0, 1 - max(pair) / most) if most >= num_modes / 2 else 0.0)
        most = max(most, min(pair))
    return found


def verdict(modes: Sequence[float], num_modes: int) -> tuple[str, int | None]:
    """Whether a run collapsed (at least half of its modes lost), and the first evaluation at which it had.

    It is intact if it never lost more than a quarter, and between the two otherwise.
    """
    lost = losses(modes, num_modes)
    onset = next((i for i, loss in enumerate(lost) if loss >= 0.5), None)
    if onset is not None:
        return COLLAPSED, onset
    return (INTACT if max(lost, default=0.0) <= 0.25 else BETWEEN), None
