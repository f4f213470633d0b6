"""GANs trained on modes that overlap, or on two digits, and what they generate at several points of one run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.metrics import DigitsClassifier, ManifoldCollapse
from datamodules import DigitsDataModule, OverlappingMixtureDataModule
from datamodules.base import GANDataModule
from datamodules.seeding import keyed_generator
from gan_modules import NSGAN, R1GAN, R3GAN, WGANGP, Adam, GANModule
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from studies.kept import kept

#: the overlap of neighbours on a ring, or two digits
Data = float | tuple[int, int]
LOSSES: dict[str, Callable[..., GANModule]] = {"NSGAN": NSGAN, "WGAN-GP": WGANGP, "R3GAN": R3GAN, "R1GAN": R1GAN}
#: of the penalties, as in configs/ring and configs/digits
WEIGHTS = {
    "ring": {"NSGAN": {}, "WGAN-GP": {"gp_weight": 1.0}, "R3GAN": {"gamma": 0.05}, "R1GAN": {"gamma": 0.1}},
    "digits": {"NSGAN": {}, "WGAN-GP": {"gp_weight": 10.0}, "R3GAN": {"gamma": 0.1}, "R1GAN": {"gamma": 0.3}},
}
#: iterations of a third as many, as each is of six steps rather than two
SHARE = {"NSGAN": 1, "WGAN-GP": 3, "R3GAN": 1, "R1GAN": 1}
MODES = 8  # on the ring, whose radius is 1
LOOKS = (0.5, 1.0, 2.0)  # when it is looked at, in lengths of a run
ALPHA = 0.05  # of reals that count as between modes


def label(data: Data) -> str:
    """A short name."""
    return f"overlap {data:g}" if isinstance(data, float) else "digits {}-{}".format(*data)


@dataclass(frozen=True)
class Task:
    """One training run: all that decides its outcome.

    Attributes:
        loss: one of LOSSES.
        data: what it is trained on.
        seed: of the networks, the latents and the order of the data.
        iterations: of a GAN with one step of each player, of a run of length 1; it goes on to length 2.
        samples: taken at each look.
    """

    loss: str
    data: Data
    seed: int
    iterations: int
    samples: int

    @property
    def name(self) -> str:
        return f"{self.loss}/{label(self.data).replace(' ', '-')}/seed-{self.seed}"

    @property
    def on_ring(self) -> bool:
        return isinstance(self.data, float)

    def datamodule(self) -> GANDataModule:
        return ring(self.data, self.seed) if isinstance(self.data, float) else digits(self.data, self.seed)

    def game(self) -> GANModule:
        """With constant rates, so that a run is the first half of one of twice the length."""
        optimizer = partial(Adam, lr=1e-3, beta1=0.0, beta2=0.9)
        shape, latent, width = ((2,), 8, 128) if self.on_ring else ((1, 8, 8), 32, 256)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return LOSSES[self.loss](
                MLPGenerator(shape, latent_dim=latent, width=width, depth=3),
                MLPDiscriminator(shape, width=width, depth=3),
                **WEIGHTS["ring" if self.on_ring else "digits"][self.loss],
                ema_decay=0.995,
                seed=self.seed,
                generator_optimizer=optimizer,
                discriminator_optimizer=optimizer,
            )


def ring(overlap: float, seed: int = 0) -> OverlappingMixtureDataModule:
    """Eight modes on the unit circle: with the overlap only their std changes."""
    apart = -2 * float(torch.special.ndtri(torch.tensor(overlap / 2, dtype=torch.float64)))
    std = 2 * float(np.sin(np.pi / MODES)) / apart
    return OverlappingMixtureDataModule(overlap=overlap, modes=MODES, std=std, batch_size=128, seed=seed)


def digits(classes: tuple[int, int], seed: int = 0) -> DigitsDataModule:
    return DigitsDataModule(classes=list(classes), batch_size=64, seed=seed)


def trained(task: Task, root: Path) -> list[Tensor]:
    """Samples of the averaged generator at each of LOOKS, in data space; a run whose file is there is not repeated."""
    digits = 5 if task.on_ring else 3
    left = kept(root / f"{task.name}.json", asdict(task), lambda: [_rounded(x, digits) for x in _fit(task)])
    shape = (2,) if task.on_ring else (1, 8, 8)
    return [torch.tensor(rows).view(-1, *shape) for rows in left]


def _rounded(x: Tensor, digits: int) -> list[list[float]]:
    return [[round(v, digits) for v in row] for row in x.flatten(1).tolist()]


class _Looks(Callback):
    def __init__(self, iterations: list[int], samples: int) -> None:
        self.iterations, self.samples = iterations, samples
        self.seen: list[Tensor] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step in self.iterations:
            assert isinstance(pl_module, GANModule)
            self.seen.append(pl_module.sample(self.samples, seed=0))


def _fit(task: Task) -> list[Tensor]:
    looks = _Looks([round(task.iterations * look / SHARE[task.loss]) for look in LOOKS], task.samples)
    trainer = Trainer(
        max_steps=looks.iterations[-1],
        accelerator="cpu",
        callbacks=[looks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(task.game(), datamodule=task.datamodule())
    assert len(looks.seen) == len(LOOKS)
    return looks.seen if task.on_ring else [x.clamp(0, 1) for x in looks.seen]


# --- what became of it ------------------------------------------------------------------------------------------------


@cache
def reals(data: Data) -> Tensor:
    """What the metric compares with: held-out samples of the mixture, or all held-out digits of both classes."""
    if isinstance(data, float):
        return ring(data).truth.sample(10_000, keyed_generator("hybrids", "reals"))[0]
    module = digits(data)
    return torch.cat([images for split in ("val", "test") for images, _ in [module.load(split)]])  # type: ignore[misc]


@cache
def _against(data: Data) -> ManifoldCollapse:
    truth = ring(data).truth if isinstance(data, float) else None
    metric = ManifoldCollapse(ALPHA, truth, reset_real_features=False)
    metric.update(*_views(data, reals(data), True))
    return metric


def judged(data: Data, x: Tensor) -> ManifoldCollapse:
    """The metric, having seen the reals and these samples, until it is asked of others."""
    metric = _against(data)
    metric.reset()  # keeps the reals
    metric.update(*_views(data, x, False))
    return metric


def _views(data: Data, x: Tensor, real: bool) -> tuple[Any, ...]:
    if isinstance(data, float):
        return x, real
    features = classifier()(x)
    return features, real, classifier().probabilities_of(features)


@cache
def classifier() -> DigitsClassifier:
    return DigitsClassifier()


def rarest(data: Data, x: Tensor) -> float:
    """Share of the rarest mode, in units of an even share: 0 where one is lost."""
    if isinstance(data, float):
        modes = ring(data).truth.assign(x)
        return MODES * float((modes[modes >= 0, None] == torch.arange(MODES)).double().mean(0).min())
    first = classifier().probabilities(x)[:, list(data)].argmax(1) == 0
    return 2 * float(torch.minimum(first.double().mean(), 1 - first.double().mean()))


def between(data: Data, x: Tensor) -> float:
    """Share of samples between modes."""
    return float(judged(data, x).compute()["between"])
