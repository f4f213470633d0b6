"""GANs on scikit-learn's digits, trained in a training space of the data's own total variance, and where they err."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.metrics import DigitsClassifier, Extractor, FrechetDistance, Pixels
from datamodules import DigitsDataModule
from datamodules.whitening import Identity, Standardize, Whitening, ZCAWhitening
from gan_modules import R3GAN, WGANGP, Adam, GANModule
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from gan_modules.record import NonFiniteError
from studies.kept import kept

Array = np.ndarray[Any, np.dtype[np.float64]]
SHAPE = (1, 8, 8)
#: in data space, or a space made from it, of the same total variance
SPACES: dict[str, Callable[[], Whitening]] = {
    "raw": Identity,
    "standardised": Standardize,
    "power 0": partial(ZCAWhitening, power=0.0),  # centred, and otherwise raw
    "power .25": partial(ZCAWhitening, power=0.25),
    "power .5": partial(ZCAWhitening, power=0.5),
    "power .75": partial(ZCAWhitening, power=0.75),
    "power 1": partial(ZCAWhitening, power=1.0),
}
GAMES: dict[str, Callable[..., GANModule]] = {
    "R3GAN": partial(R3GAN, gamma=0.1),  # relativistic pairing + R1 + R2
    "WGAN-GP": WGANGP,  # five critic steps an iteration
}
#: distances by learning rate, by features
Scores = dict[str, dict[float, float]]
#: numbers of a run that are Frechet distances to held-out digits, each by its extractor
FEATURES: dict[str, Callable[[], Extractor]] = {"classifier": DigitsClassifier, "pixels": Pixels}


@dataclass(frozen=True)
class Training:
    """What decides a run's numbers.

    Attributes:
        game: of GAMES.
        space: of SPACES.
        lr: of Adam, both players'.
        seed: of networks, batches and latents.
        iterations: of training.
        evaluations: how often the generator is looked at in them, the last time at their end.
    """

    game: str
    space: str
    lr: float
    seed: int
    iterations: int
    evaluations: int = 10


@dataclass(frozen=True)
class Recipe:
    """How long a game is trained, and in which spaces."""

    game: str
    iterations: int
    spaces: tuple[str, ...] = tuple(SPACES)

    def training(self, space: str, lr: float, seed: int) -> Training:
        return Training(self.game, space, lr, seed, self.iterations)


RECIPES = {
    "R3GAN": Recipe("R3GAN", 1500),
    "WGAN-GP": Recipe("WGAN-GP", 300, ("raw", "power .5", "power 1")),
}


# --- the data ---------------------------------------------------------------------------------------------------------


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Training and held-out digits, (1197, 1, 8, 8) and (600, 1, 8, 8)."""
    data = DigitsDataModule(batch_size=1)
    return data.load("train")[0], torch.cat([data.load("val")[0], data.load("test")[0]])


def training_space(name: str) -> Whitening:
    """The map of that name, fitted on the training digits and scaled so that their total variance is that of pixels."""
    real = digits()[0]
    whitening = SPACES[name]().fit(real)
    factor = float((_total_variance(real) / _total_variance(whitening(real))).sqrt())
    state = dict(whitening.state_dict())
    state |= {key: state[key] * power for key, power in (("gain", factor), ("std", 1 / factor)) if key in state}
    whitening.load_state_dict(state)
    return whitening


def _total_variance(rows: Tensor) -> Tensor:
    return rows.double().flatten(1).var(0).sum()


@cache
def eigendirections() -> tuple[Array, Array]:
    """Of the training digits: axes (64, d) in columns and variances (d,), largest first, without empty directions."""
    fitted = ZCAWhitening().fit(digits()[0])
    order = fitted.variance.argsort(descending=True)
    return fitted.basis[:, order].numpy(), fitted.variance[order].numpy()


@cache
def classifier_signal() -> Array:
    """Share of each eigendirection in the variance of the classifier's features, to first order: (d,), sum 1."""
    axes, variances = eigendirections()
    extractor = DigitsClassifier()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: extractor.network(x[None])[0]))(digits()[1])
    along = jacobian.flatten(2).double().numpy() @ axes  # (N, features, d)
    signal = (along**2).sum(1).mean(0) * variances
    return np.asarray(signal / signal.sum())


class Judge:
    """Frechet distances of samples in data space to the held-out digits."""

    def __init__(self) -> None:
        self.extractors = {name: make() for name, make in FEATURES.items()}
        self.metrics = {name: FrechetDistance(reset_real_features=False) for name in FEATURES}
        for name, metric in self.metrics.items():
            metric.update(self.extractors[name](digits()[1]), real=True)

    def distances(self, samples: Tensor) -> dict[str, float]:
        """By name of the features."""
        found = {}
        for name, metric in self.metrics.items():
            metric.reset()  # keeps the reals
            metric.update(self.extractors[name](samples), real=False)
            found[name] = float(metric.compute())
        return found


# --- runs -------------------------------------------------------------------------------------------------------------


class Watch(Callback):
    """Judges as many samples as there are training digits, at the end of each epoch."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.path: list[dict[str, float]] = []
        self.samples = torch.empty(0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.samples = data.decode(pl_module.sample(len(digits()[0]), seed=0))
        if not self.samples.isfinite().all():
            raise NonFiniteError(f"samples after {trainer.global_step} iterations are not finite")
        self.path.append({"iteration": trainer.global_step, **self.judge.distances(self.samples)})


def trained(training: Training) -> dict[str, Any]:
    """Distances on the way, and by eigendirection at the end: shift of the mean, and variance."""
    torch.manual_seed(training.seed)
    adam = partial(Adam, lr=training.lr, beta1=0.0, beta2=0.9)
    game = GAMES[training.game](
        MLPGenerator(SHAPE, latent_dim=64, width=256, depth=3),
        MLPDiscriminator(SHAPE, width=256, depth=3),
        ema_decay=0.99,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
        seed=training.seed,
    )
    epoch = training.iterations // training.evaluations
    data = DigitsDataModule(
        batch_size=128, epoch_iterations=epoch, seed=training.seed, whitening=training_space(training.space)
    )
    watch = Watch()
    trainer = Trainer(
        max_epochs=training.evaluations, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, callbacks=[watch],
    )  # fmt: skip
    try:
        trainer.fit(game, data)
    except NonFiniteError:  # such a learning rate is as bad as can be
        lost = dict.fromkeys(FEATURES, math.inf)
        watch.path += [{"iteration": k * epoch, **lost} for k in range(len(watch.path) + 1, training.evaluations + 1)]
        watch.samples = torch.full((2, *SHAPE), math.nan)
    axes, _ = eigendirections()
    shift = watch.samples.double().flatten(1).numpy() - digits()[0].double().flatten(1).mean(0).numpy()
    return {
        "path": watch.path,
        "shift": (shift @ axes).mean(0).tolist(),
        "variance": (shift @ axes).var(0, ddof=1).tolist(),
    }


def runs(asked: Sequence[Training], out: Path, jobs: int = 1) -> Iterator[dict[str, Any]]:
    """Results of the runs in order; one whose result is in ``out`` is not repeated."""
    if jobs == 1:
        yield from map(partial(result, out), asked)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        yield from pool.map(partial(result, out), asked)


def result(out: Path, training: Training) -> dict[str, Any]:
    """Of a run, from its file or by training."""
    name = f"{training.game}-{training.space}-{training.iterations}-{training.lr:g}-{training.seed}".replace(" ", "_")
    found: dict[str, Any] = kept(out / f"{name}.json", asdict(training), partial(trained, training))
    return found


# --- learning rates ---------------------------------------------------------------------------------------------------


def lr_of(k: int) -> float:
    """Of the grid: 0.001 times the k-th power of 3, to three digits."""
    return float(f"{1e-3 * 3**k:.3g}")


def tuned(
    recipes: Sequence[Recipe], tuned_for: Sequence[str], seeds: Sequence[int], out: Path, jobs: int = 1
) -> dict[tuple[str, str], Scores]:
    """Distances at the end, mean over seeds, by features and learning rate: of each recipe's game and space.

    The grid is lr_of(-1), lr_of(0), lr_of(1), and goes on beyond an edge at which the best of it lies for one of
    ``tuned_for``, up to lr_of(-4) and lr_of(4).
    """
    grids = {(recipe, space): set[int]() for recipe in recipes for space in recipe.spaces}
    scores: dict[tuple[str, str], Scores] = {(r.game, space): {name: {} for name in tuned_for} for r, space in grids}
    while missing := [
        (recipe, space, k) for (recipe, space), known in grids.items() for k in _next(scores[recipe.game, space], known)
    ]:
        asked = [recipe.training(space, lr_of(k), seed) for recipe, space, k in missing for seed in seeds]
        results = runs(asked, out, jobs)
        for recipe, space, k in missing:
            ends = [next(results)["path"][-1] for _ in seeds]
            grids[recipe, space].add(k)
            for name, known in scores[recipe.game, space].items():
                known[lr_of(k)] = float(np.mean([end[name] for end in ends]))
    return scores


def _next(scores: Scores, known: set[int]) -> list[int]:
    """What is to be tried after what is known."""
    if not known:
        return [-1, 0, 1]
    best = [min((by_rate[lr_of(k)], k) for k in known)[1] for by_rate in scores.values()]
    return sorted({k for b in best for k in (b - 1, b + 1) if k not in known and abs(k) <= 4})
