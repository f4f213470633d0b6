"""What became of a GAN, told from the distribution that its data were drawn from: nothing that a diagnostic reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from callbacks.failures import FAILURES
from datamodules.seeding import keyed_generator

(
    NUMERICAL, SPECTRAL, MEMORISATION, OVERFITTING, CYCLE, DIVERGENCE, VANISHING, MODES, OVERPOWERING, MANIFOLD,
) = FAILURES  # fmt: skip
#: no failure; and a run of which the truth does not say what its making was to lead to
HEALTHY, NEITHER = "none", "neither"
#: samples that are judged, of another sequence than the metrics', and draws of the truth that they are held against
JUDGED = 1000
#: a mode is there if it has this share of its weight
PRESENT = 0.2
#: iterations between two points of the path of the generated mean
STRIDE = 5
Fact = dict[str, float]


class Witness(Callback):
    """Notes at each validation what the truth says of the generator, and in between where its mean goes.

    Attributes:
        facts: one a validation, see ``facts_of``.
        path: means of generated samples at fixed latents, one every STRIDE iterations, in training space.
    """

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.path: list[list[float]] = []
        self._z: Tensor | None = None
        self._before: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % STRIDE == 0:
            self.path.append(self._at_fixed_latents(pl_module).mean(0).tolist())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        now = self._at_fixed_latents(pl_module)
        moved = math.nan if self._before is None else float((now - self._before).norm(dim=1).mean())
        self._before = now
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self.facts.append({"iteration": float(trainer.global_step), "moved": moved} | facts_of(pl_module, data))

    def _at_fixed_latents(self, game: Any) -> Tensor:
        if self._z is None:
            self._z = torch.randn(256, game.latent_dim, generator=keyed_generator("witness"))
        with torch.no_grad():
            made: Tensor = game.generator(self._z.to(next(game.generator.parameters()).dtype))
        return made.flatten(1)


def facts_of(game: Any, data: Any) -> Fact:
    """What the truth says of a GAN's samples and its discriminator.

    - ``distance``: energy coefficient of samples and fresh draws of the truth, in [0, 1]: 0 for equal distributions.
    - ``modes``: share of modes that have PRESENT of their weight or more.
    - ``off``: share of samples where the density is e^5 below that of all but 0.5 % of the data.
    - ``copied``: share of samples that are less than half as far from a training row as from the nearest of equally
      many fresh draws.
    - ``known``: P(D(training row) > D(fresh draw)), 1/2 where D has learnt no row by heart.
    - ``told``: P(D(fresh draw) > D(sample)), 1/2 where D can't tell them apart.
    - ``rank/<player>``: least effective rank (the exponential of the entropy of singular values, by a dense SVD) of a
      layer over the largest it could have, of layers that could have 8 or more.
    """
    found = {f"rank/{name}": _rank(player) for name, player in zip(("G", "D"), game.players, strict=True)}
    if data.truth is None:  # one point
        with torch.no_grad():
            samples = game.sample(JUDGED, seed=99)
        return found | {"distance": float((samples - samples.new_tensor(data.load("val")[0][0])).norm(dim=1).mean())}
    fresh = data.truth.sample(JUDGED, keyed_generator("witness", "fresh"))[0]
    rows = torch.cat([batch for batch, _ in data.reals("train", space="data")])
    with torch.no_grad():
        encoded = game.sample(JUDGED, seed=99)
        samples = data.decode(encoded.float()).double()
        seen = data.encode(rows[:JUDGED]), data.encode(fresh.float()), encoded
        logits = [game.discriminator(x.to(encoded.dtype)).double() for x in seen]
    if not samples.isfinite().all():
        return found
    weights = torch.bincount(data.truth.assign(samples) + 1, minlength=data.truth.num_modes + 1)[1:]
    low = data.truth.log_density(fresh).quantile(0.005) - 5.0
    others = data.truth.sample(len(rows), keyed_generator("witness", "others"))[0]
    return found | {
        "distance": energy_coefficient(samples, fresh),
        "modes": float((weights >= PRESENT * data.truth.weights * JUDGED).double().mean()),
        "off": float((data.truth.log_density(samples) < low).double().mean()),
        "copied": float((_nearest(samples, rows.double()) < _nearest(samples, others) / 2).double().mean()),
        "known": above(logits[0], logits[1]),
        "told": above(logits[1], logits[2]),
    }


def energy_coefficient(x: Tensor, y: Tensor) -> float:
    """(2 E|x - y| - E|x - x'| - E|y - y'|) / (2 E|x - y|), in [0, 1] (Szekely and Rizzo, 2013)."""
    between = torch.cdist(x, y).mean()
    return float(1 - (torch.cdist(x, x).mean() + torch.cdist(y, y).mean()) / (2 * between))


def above(x: Tensor, y: Tensor) -> float:
    """P(x > y) + P(x = y) / 2."""
    difference = x[:, None] - y
    return float(((difference > 0).double() + (difference == 0).double() / 2).mean())


def _nearest(x: Tensor, rows: Tensor) -> Tensor:
    return torch.cdist(x, rows).amin(1)


def _rank(player: nn.Module) -> float:
    ranks = [1.0]
    for module in player.modules():
        if isinstance(module, nn.Linear) and min(module.weight.shape) >= 8:
            sigma = torch.linalg.svdvals(module.weight.detach().double())
            share = sigma / sigma.sum()
            ranks.append(float(torch.special.entr(share).sum().exp()) / len(sigma))
    return min(ranks)


# --- what it amounts to -----------------------------------------------------------------------------------------------


def turns(path: Sequence[Sequence[float]]) -> tuple[float, float]:
    """How often the second half of a path goes to and fro, and how unevenly.

    Along its direction of greatest variance: half the number of times that it crosses its mean, where it had gone to
    half its standard deviation on the other side before; and the standard deviation of the times between two over
    their mean.
    """
    points = np.asarray(path[len(path) // 2 :], dtype=float)
    centred = points - points.mean(0)
    if not np.isfinite(centred).all() or not centred.any():
        return 0.0, math.inf
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    threshold, side, crossings = 0.5 * along.std(), 0, []
    for i, value in enumerate(along):
        if abs(value) > threshold and np.sign(value) != side:
            side = int(np.sign(value))
            crossings.append(i)
    between = np.diff(crossings)
    return len(between) / 2, float(between.std() / between.mean()) if len(between) > 1 else math.inf


def swing(path: Sequence[Sequence[float]], part: slice) -> float:
    """Root mean square distance of a part of the path from its mean."""
    points = np.asarray(path[part], dtype=float)
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def verdict(meant: str, facts: Sequence[Fact], path: Sequence[Sequence[float]], ended: str, beyond: bool) -> str:
    """What a run was made to show, if it does, else NEITHER.

    Args:
        meant: the failure that its making leads to, or HEALTHY.
        facts: of its validations.
        path: of its mean.
        ended: the error that ended it, or "".
        beyond: whether it diverges if it is trained on.
    """
    if meant == NUMERICAL:
        return meant if ended else NEITHER
    if ended or len(facts) < 4:
        return NEITHER
    late = facts[-3:] if meant == HEALTHY else facts[-2:]

    def low(name: str) -> float:
        return min(fact.get(name, math.nan) for fact in late)

    def high(name: str) -> float:
        return max(fact.get(name, math.nan) for fact in late)

    far = low("distance") > 0.15
    times, uneven = turns(path)
    n = len(path) // 4
    last, before = swing(path, slice(-n, None)), swing(path, slice(-2 * n, -n))
    cycles = times >= 4 and uneven < 0.4 and last > 0.1 and 0.5 < last / before < 2.0
    shows = {
        HEALTHY: lambda: high("distance") < 0.05 and not cycles and (
            "modes" not in late[0]
            or (low("modes") >= 0.99 and high("off") < 0.2 and high("copied") < 0.35 and high("known") < 0.65)
        ),
        VANISHING: lambda: far and high("moved") < 0.02,
        OVERPOWERING: lambda: far and low("moved") >= 0.02 and low("told") > 0.98,
        OVERFITTING: lambda: low("known") > 0.75 and high("copied") < 0.3,
        MEMORISATION: lambda: low("copied") > 0.5,
        CYCLE: lambda: cycles,
        DIVERGENCE: lambda: beyond,
        MODES: lambda: high("modes") <= 0.5,
        MANIFOLD: lambda: low("modes") >= 0.75 and low("off") > 0.25 and high("distance") < 0.1,
        SPECTRAL: lambda: min(high("rank/G"), high("rank/D")) < 0.1,
    }  # fmt: skip
    return meant if shows[meant]() else NEITHER
