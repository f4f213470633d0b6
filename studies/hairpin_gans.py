"""GANs trained on a hairpin or on the same modes laid on a line, what they generate, and where they are told to go."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from datamodules import HairpinDataModule
from datamodules.seeding import keyed_generator
from datamodules.truth.flat_manifold import FlatManifold
from gan_modules import R1GAN, R3GAN, WGANGP, Adam, GANModule
from gan_modules.networks import MLPDiscriminator, MLPGenerator
from studies import critics
from studies.kept import kept
from studies.plane import transport

Array = np.ndarray[Any, np.dtype[np.float64]]
WASSERSTEIN, RELATIVISTIC, NON_SATURATING = "WGAN-GP", "R3GAN", "R1GAN"
LOSSES: dict[str, Callable[..., GANModule]] = {
    WASSERSTEIN: partial(WGANGP, gp_weight=1.0),  # of five critic steps
    RELATIVISTIC: partial(R3GAN, gamma=0.1),
    NON_SATURATING: partial(R1GAN, gamma=0.1),
}
#: iterations of a third as many, as each is of six steps rather than two
SHARE = {WASSERSTEIN: 3, RELATIVISTIC: 1, NON_SATURATING: 1}
MODES = 8  # on a sheet
LENGTH = 4.0  # of a sheet


@dataclass(frozen=True)
class Task:
    """One training run: all that decides its outcome.

    Attributes:
        loss: one of LOSSES.
        gap: between the sheets; the noise normal to the curve is a twelfth of it.
        unrolled: whether the curve is laid out on a line.
        seed: of the networks, the latents and the order of the data.
        iterations: of a GAN with one step of each player.
        batch: rows a step.
        lr: of both players' Adam, with betas 0 and .9.
        width: of three hidden layers.
    """

    loss: str
    gap: float
    unrolled: bool
    seed: int
    iterations: int = 1500
    batch: int = 256
    lr: float = 1e-3
    width: int = 128

    @property
    def name(self) -> str:
        return f"{self.loss}/gap-{self.gap:g}{'-flat' if self.unrolled else ''}/seed-{self.seed}"

    def data(self) -> HairpinDataModule:
        return HairpinDataModule(
            modes=MODES, length=LENGTH, gap=self.gap, unrolled=self.unrolled, batch_size=self.batch, seed=self.seed
        )

    def truth(self) -> FlatManifold:
        truth = self.data().truth
        assert isinstance(truth, FlatManifold)
        return truth

    def game(self) -> GANModule:
        optimizer = partial(Adam, lr=self.lr, beta1=0.0, beta2=0.9)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return LOSSES[self.loss](
                MLPGenerator((2,), latent_dim=8, width=self.width, depth=3),
                MLPDiscriminator((2,), width=self.width, depth=3),
                ema_decay=0.99,
                seed=self.seed,
                generator_optimizer=optimizer,
                discriminator_optimizer=optimizer,
            )


def trained(task: Task, root: Path, samples: int = 10_000) -> dict[str, Array]:
    """What a run leaves: `samples` (N, 2) of the averaged generator, `fake` and `push`, (N / 5, 2), of the last one.

    `push` is minus the gradient of the generator's loss by each generated point, times their number: where it is told
    to go. A run whose file is there is not repeated.
    """

    def train() -> dict[str, list[list[float]]]:
        game, data = task.game(), task.data()
        _fit(game, data, task.iterations // SHARE[task.loss])
        fake = game.sample(samples // 5, seed=1, ema=False)
        real = data.truth.sample(samples // 5, keyed_generator("hairpin_gans", task.seed))[0].float()
        return rounded({"samples": game.sample(samples, seed=0), "fake": fake, "push": push(game, real, fake)})

    left = kept(root / f"{task.name}.json", asdict(task) | {"samples": samples}, train)
    return {name: np.array(values) for name, values in left.items()}


def rounded(tensors: dict[str, Tensor]) -> dict[str, list[list[float]]]:
    """Numbers to six digits."""
    return {name: [[float(f"{v:.6g}") for v in row] for row in rows.tolist()] for name, rows in tensors.items()}


def push(game: GANModule, real: Tensor, fake: Tensor) -> Tensor:
    """Minus the gradient of the generator's loss by each row of ``fake``, times their number."""
    points = fake.detach().clone().requires_grad_()
    loss = game.loss.generator(critics.looked_at(game.loss, game.discriminator, real, points))
    assert loss is not None
    (gradient,) = torch.autograd.grad(loss, points)
    return -len(fake) * gradient


def _fit(game: GANModule, data: HairpinDataModule, iterations: int) -> None:
    trainer = Trainer(
        max_steps=iterations,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(game, datamodule=data)


# --- what became of it ------------------------------------------------------------------------------------------------

PLACES = ("sheets", "bend", "line")


def measures(task: Task, left: dict[str, Array]) -> dict[str, float]:
    """Numbers of a run.

    off: share of samples more than 3 standard deviations of the noise off the curve, of which a perfect sampler has
        .0027; in the gap: those of them on the side to which the curve bends.
    modes: of 16, with a tenth of their share of samples of high quality; coverage: the sum over modes of the smaller of
        both shares, of the data and of samples of high quality, .989 for a perfect sampler.
    imbalance: mean over positions along the sheets of |lower - upper| / (lower + upper), by the nearest mode along the
        curve; on the line, of the same pairs of modes.
    geodesic W1: of arc lengths of projections, exact as on any line; straight W1: of 500 points in the plane, by the
        best assignment. Of both what is above a perfect sampler's mean, as that depends on the shape.
    """
    truth = task.truth()
    x = torch.from_numpy(left["samples"])
    at = truth.locate(x)
    offset = ((x - truth.embed(at)) * truth.normals(at)[:, 0]).sum(1) / truth.normal_std
    counts = torch.bincount((at - truth.centres.T).abs().argmin(1), minlength=truth.num_modes).double()
    both = (counts + counts.flip(0))[:MODES]
    good = torch.bincount(truth.assign(x) + 1, minlength=truth.num_modes + 1)[1:] / len(x)
    geodesic, straight = _distances(truth, x)
    floors = _floors(task.gap, task.unrolled, len(x))
    numbers = {
        "off the curve": float((offset.abs() > 3).double().mean()),
        "in the gap": float((offset > 3).double().mean()),
        "modes": float((good > 0.1 * truth.weights).sum()),
        "coverage": float(torch.minimum(good, truth.weights).sum()),
        "imbalance": float(((counts - counts.flip(0)).abs()[:MODES] / both.clamp(min=1)).mean()),
        "geodesic W1": geodesic - floors[0],
        "straight W1": straight - floors[1],
    }
    return numbers | _directions(task, truth, left)


def _distances(truth: FlatManifold, x: Tensor) -> tuple[float, float]:
    """W1 from the data along the curve, and of 500 points in the plane."""
    real, _ = truth.sample(len(x), keyed_generator("hairpin_gans", "judged"))
    ours, theirs = (truth.locate(points)[:, 0].sort().values for points in (x, real))
    return float((ours - theirs).abs().mean()), transport(x[:500], real[:500])


@cache
def _floors(gap: float, unrolled: bool, samples: int, draws: int = 8) -> tuple[float, float]:
    """Means of both for the data's own samples."""
    truth = Task(WASSERSTEIN, gap, unrolled, 0).truth()
    found = [_distances(truth, truth.sample(samples, keyed_generator("floors", k))[0]) for k in range(draws)]
    return sum(f[0] for f in found) / draws, sum(f[1] for f in found) / draws


def _directions(task: Task, truth: FlatManifold, left: dict[str, Array]) -> dict[str, float]:
    """Where generated points are pushed, by place on the curve.

    angle: median degrees between the push and the curve, 90 straight off it; right way: share of points pushed along
    the curve as the least transport of their arc lengths to the data's would move them, .5 by chance; push: root mean
    square. NaN where there are fewer than 20 points.
    """
    fake, push = torch.from_numpy(left["fake"]), torch.from_numpy(left["push"])
    at = truth.locate(fake)
    along = (push * truth.tangents(at)[:, 0]).sum(1)
    size = push.norm(dim=1)
    angle = torch.rad2deg(torch.acos((along.abs() / size).clamp(max=1)))
    real = truth.locate(truth.sample(10_000, keyed_generator("hairpin_gans", "judged"))[0])[:, 0].sort().values
    ours = at[:, 0].sort().values
    # Of what is before a point, more is generated than real: it has to move on.
    surplus = torch.searchsorted(ours, at[:, 0]) / len(ours) - torch.searchsorted(real, at[:, 0]) / len(real)
    right = (torch.sign(surplus) * along > 0).double()
    bent = truth.curvature(at) > 0
    masks = {"line": bent | True} if task.unrolled else {"sheets": ~bent, "bend": bent}
    found: dict[str, float] = {}
    for place, mask in masks.items():
        enough = int(mask.sum()) >= 20
        values = {
            "angle": angle[mask].median() if enough else torch.tensor(torch.nan),
            "right way": right[mask].mean(),
            "push": size[mask].square().mean().sqrt(),
        }
        found |= {f"{name}, {place}": float(v) if enough else float("nan") for name, v in values.items()}
    return found
