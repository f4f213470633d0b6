"""Whether gradients arrive, what the discriminator knows, and which way the players move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from callbacks.cycle import Array, Cycle, Trajectory, dominant_cycle
from callbacks.dead_units import dead_units
from callbacks.diagnostic import Diagnostic, first_draw
from callbacks.judgement import CHUNK, Labelled, auc, judge, overfitting, rows_to_judge
from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import call
from gan_modules.gan import GANModule
from gan_modules.protocols import GENERATOR, PLAYER_NAMES
from gan_modules.steps import frozen

#: strength from which on a period is logged
CYCLE = 0.5


class GradientHealth(Diagnostic):
    """First derivatives and logits before each validation, and the players' trajectory from every iteration.

    Of the batch just trained on, with the networks in the mode that they train in:

    - ``health/signal``: what reaches the generator: the norm of dL_G / dG(z)_i times the number of rows, mean over
      rows; L_G without penalties. ``health/signal_share``: the same over D's own slope there, |grad_x D|: 1 for a
      Wasserstein loss, sigmoid(D) for the saturating one, 1 - sigmoid(D) for the non-saturating.
    - ``health/grad_norm/<player>``: norm of the loss's gradient, penalties included.
    - ``health/dead/<player>``: share of hidden units (channels of convolutions) through which no gradient passes on
      any row: ReLUs that never are active, saturated ones; a LeakyReLU never is dead.
    - ``health/non_finite``: 1 where a loss or a gradient is NaN or infinite, else 0.

    Of up to 512 training rows, as many held-out ones and as many samples, as D sees them (augmented):

    - ``health/accuracy/train``, ``/held_out``, ``/fake``: share of logits on the right side of 0, which says nothing of
      a critic; ``health/auc/train``, ``/held_out``: P(D(real) > D(fake)), which does.
    - ``health/overfitting``: (E D(train) - E D(held out)) / (E D(train) - E D(fake)), 0 for a D that generalises, 1 for
      one that takes held-out rows for samples (Karras et al., 2020, eq. 1); ``health/overfitting_error``: its standard
      error, which is large where D tells nothing apart.

    Without a held-out split, or a GAN, these are left out as far as they need one. Of the iterations since the last
    look, at 64 parameters of each player:

    - ``health/update_ratio/<player>``: norm of an iteration's update over the norm of the parameters, root mean square.
    - ``health/cosine/<player>``: between successive updates, mean: 1 straight on, 0 at random, -1 to and fro.
    - ``health/path_angle``: cosine between the way that both players went since the last look and the field
      (-dL_G/dtheta, -dL_D/dphi) where they are now, all parameters: 1 for straight descent, near 0 where the field is
      rotation (after Berard et al., 2020, whose path is the straight line to the final point).

    And of the latest 4,096 iterations:

    - ``health/cycle``: strength, in [0, 1], of the strongest cycle with at least 8 turns in sight (``dominant_cycle``);
      from .5 on ``health/period``, iterations of a turn, to be held against ``game/period``, which is predicted; and
      ``health/amplitude``: its root mean square over the norm of the parameters.

    The trajectory is not in checkpoints: after a resume periods are measured anew. On several processes values are
    means over them. Cost of a look: some ten gradients, and D and G forward on those rows; of an iteration, one
    concatenation of 128 numbers.

    Args:
        every_n_steps: iterations between two looks; before each validation if None.
        budget: share of the training time that looks may take.
    """

    prefix: ClassVar[str] = "health"
    guess: ClassVar[float] = 12.0

    def __init__(self, every_n_steps: int | None = None, budget: float | None = 0.01) -> None:
        super().__init__(every_n_steps, budget)
        #: what the latest look found to return, with its period even where it is weak
        self.cycle: Cycle | None = None
        self._trajectory: Trajectory | None = None
        self._since = 0
        self._before: list[Tensor] = []
        self._rows: dict[str, Labelled] | None = None

    @property
    def summary(self) -> str:
        """The measured cycle, if any."""
        if self.cycle is None:
            return "no look yet"
        if self.cycle.strength < CYCLE:
            return "no cycle"
        return f"a cycle of {self.cycle.period:.3g} iterations, strength {self.cycle.strength:.2f}"

    # --- hooks ------------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._trajectory = Trajectory(_players(pl_module))
        self._trajectory.record()
        self._remember(pl_module)
        self._rows, self.cycle = None, None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._trajectory is not None:
            self._trajectory.record()
            self._since += 1
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def _remember(self, pl_module: Any) -> None:
        """Where the players are, for the way that they go until the next look."""
        self._since = 0
        self._before = [p.detach().clone() for p in _trained(pl_module)]

    # --- a look -----------------------------------------------------------------------------------------------------

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        real, labels = first_draw(batch, pl_module)
        values: dict[str, float] = {}
        game_batch = pl_module.game_batch(real, labels, iteration=trainer.global_step)
        gradients, finite = _gradients(pl_module, game_batch, values)
        if isinstance(pl_module, GANModule):
            _signal(pl_module, game_batch, values)
            _dead(pl_module, game_batch, values)
            self._judge(trainer, pl_module, (real, labels), values)
        names = list(values)
        means = pl_module.all_mean([torch.tensor(values[name], device=real.device) for name in names])
        values = dict(zip(names, map(float, means), strict=True))
        values["health/non_finite"] = float(not finite)
        if self._trajectory is not None and self._since:
            values |= self._moves(pl_module, gradients)
        self._remember(pl_module)
        return values

    def _judge(self, trainer: Trainer, module: GANModule, batch: Labelled, values: dict[str, float]) -> None:
        """What D says of training rows, of held-out ones, and of samples."""
        if self._rows is None:
            self._rows = rows_to_judge(trainer, batch)
        found: dict[str, Tensor] = {}
        for name, rows in self._rows.items():
            real, fake = judge(module, rows, trainer.global_step, max(len(batch[0]), CHUNK))
            if name == "train":
                found["fake"] = fake
                values["health/accuracy/fake"] = float((fake < 0).double().mean())
            found[name] = real
            values[f"health/accuracy/{name}"] = float((real > 0).double().mean())
            values[f"health/auc/{name}"] = auc(real, fake)
        names = ("train", "held_out", "fake")
        if all(len(found.get(name, ())) for name in names):
            moments = [
                m for x in map(found.get, names) if x is not None for m in (x.mean(), x.var(correction=0) / len(x))
            ]
            means = [float(m) for m in module.all_mean([m.float().to(module.device) for m in moments])]
            squares = [square / trainer.world_size for square in means[1::2]]
            ratio, error = overfitting(
                dict(zip(names, means[::2], strict=True)), dict(zip(names, squares, strict=True))
            )
            values |= {"health/overfitting": ratio, "health/overfitting_error": error}

    # --- the trajectory ---------------------------------------------------------------------------------------------

    def _moves(self, pl_module: Any, gradients: Sequence[Tensor]) -> dict[str, float]:
        """How the players went since the last look, and whether they return."""
        assert self._trajectory is not None
        values: dict[str, float] = {}
        positions, weights = self._trajectory.positions(), self._trajectory.weights
        norms = [_norm(list(player.parameters())) for player in _players(pl_module)]
        for name, position, weight, norm in zip(PLAYER_NAMES, positions, weights, norms, strict=True):
            steps = np.diff(position[-self._since - 1 :], axis=0)
            squares = (steps**2) @ weight
            products, lengths = (steps[1:] * steps[:-1]) @ weight, np.sqrt(squares[1:] * squares[:-1])
            values[f"health/update_ratio/{name}"] = math.sqrt(squares.mean()) / norm if norm else math.nan
            if (lengths > 0).any():
                values[f"health/cosine/{name}"] = float((products[lengths > 0] / lengths[lengths > 0]).mean())
        if len(gradients) == len(self._before):  # none was frozen or freed
            way = [p.detach() - before for p, before in zip(_trained(pl_module), self._before, strict=True)]
            values["health/path_angle"] = -_cosine(way, gradients)
        return values | self._returns(positions, math.hypot(*norms))

    def _returns(self, positions: Sequence[Array], norm: float) -> dict[str, float]:
        assert self._trajectory is not None
        scales = [_scale(position) for position in positions]
        moving = [i for i, scale in enumerate(scales) if scale > 0]  # a NaN is not
        if not moving:
            self.cycle = None
            return {}
        # every second number tells as much
        self.cycle = dominant_cycle(np.concatenate([positions[i][:, ::2] / scales[i] for i in moving], axis=1))
        values = {"health/cycle": self.cycle.strength}
        if self.cycle.strength >= CYCLE:
            weights = [self._trajectory.weights[i] for i in moving]
            square = self.cycle.amplitude**2 @ np.concatenate(
                [scales[i] ** 2 * w[::2] * (w.sum() / w[::2].sum()) for i, w in zip(moving, weights, strict=True)]
            )
            values["health/period"] = self.cycle.period
            values["health/amplitude"] = math.sqrt(square) / norm if norm else math.nan
        return values


# --- parts of a look --------------------------------------------------------------------------------------------------


def _gradients(pl_module: Any, batch: GameBatch, values: dict[str, float]) -> tuple[list[Tensor], bool]:
    """Both players' gradients, means over processes, a tensor a parameter; whether losses and gradients are finite."""
    gradients, finite = [], True
    for player, name in enumerate(PLAYER_NAMES):
        parameters = [p for p in pl_module.players[player].parameters() if p.requires_grad]
        with frozen(pl_module.players[1 - player]):
            loss = pl_module.player_loss(player, batch)
        found: Sequence[Tensor | None] = [None] * len(parameters)
        if loss.requires_grad and parameters:
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
        own = [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]
        *own, value = pl_module.all_mean([*own, loss.detach()])
        norm = _norm(own)
        finite &= math.isfinite(norm) and math.isfinite(float(value))
        values[f"health/grad_norm/{name}"] = norm
        gradients += own
    return gradients, finite


def _signal(module: GANModule, batch: GameBatch, values: dict[str, float]) -> None:
    """The gradient of L_G, without penalties, at the samples, and D's own slope there."""
    with torch.no_grad():
        fake = call(module.generator, batch.z, batch.labels)
    fake.requires_grad_()
    with frozen(module.discriminator):
        d = module.discriminator_pass(GENERATOR, batch, fake)
        loss = module.loss.generator(d)
        critic = module.loss.critic(d.fake_logits, d).mean()
    signal = _row_norms(loss, fake)
    values["health/signal"] = signal
    if not module.loss.layers:  # else it is not D's output that counts
        slope = _row_norms(critic, fake)  # 0 perhaps on one process alone, which all of them must hear of
        values["health/signal_share"] = signal / slope if slope else math.nan


def _row_norms(value: Tensor, rows: Tensor) -> float:
    """Sum over rows of the norm of the gradient there."""
    if not value.requires_grad:
        return 0.0
    (gradient,) = torch.autograd.grad(value, rows, retain_graph=True)
    return float(gradient.flatten(1).float().norm(dim=1).sum())


def _dead(module: GANModule, batch: GameBatch, values: dict[str, float]) -> None:
    with torch.no_grad():
        fake = call(module.generator, batch.z, batch.labels)
    inputs = ([batch.z], [batch.real, fake])
    for name, player, rows in zip(PLAYER_NAMES, module.players, inputs, strict=True):
        forward: Callable[[Tensor], Tensor] = partial(call, player, labels=batch.labels)
        share = dead_units(player, forward, rows)
        if share is not None:
            values[f"health/dead/{name}"] = share


def _norm(tensors: Sequence[Tensor]) -> float:
    return float(nn.utils.get_total_norm([t.detach() for t in tensors])) if tensors else 0.0


def _cosine(first: Sequence[Tensor], second: Sequence[Tensor]) -> float:
    """Between two vectors that come in parts; NaN where one is zero."""
    product = sum(float((a.float() * b.float()).sum()) for a, b in zip(first, second, strict=True))
    norms = _norm(first) * _norm(second)
    return product / norms if norms > 0 else math.nan


def _scale(position: Array) -> float:
    """Root mean square of what moves."""
    return float(np.sqrt(((position - position.mean(0)) ** 2).mean())) if position.size else 0.0


def _players(pl_module: Any) -> tuple[nn.Module, nn.Module]:
    players: tuple[nn.Module, nn.Module] = pl_module.players
    return players


def _trained(pl_module: Any) -> list[Tensor]:
    return [p for player in _players(pl_module) for p in player.parameters() if p.requires_grad]
