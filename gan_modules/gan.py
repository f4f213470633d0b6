"""A GAN as a game: generator, discriminator, loss, penalties, constraint and augmentation, all injected."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm

from gan_modules.augmentation import Augmentation, View
from gan_modules.base import GameModule
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.checks import (
    check_networks,
    check_parts,
    check_shape,
    evaluating,
    latent_dim_of,
    refuse_contradictions,
    warn_of_doubtful_parts,
)
from gan_modules.discriminator_pass import DiscriminatorPass, call, check_layers, rows_per_logit
from gan_modules.dynamics import GameJacobian
from gan_modules.losses import AdversarialLoss
from gan_modules.memories import Memories
from gan_modules.penalties import Constraint, Penalty
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, SAMPLE_BLOCK
from gan_modules.steps import frozen, keyed_layers, unchanged_buffers
from gan_modules.terms import Term


class GANModule(GameModule):
    """Any GAN: a loss, penalties in the players' losses, a constraint on the discriminator, augmentation before it.

    Logged every ``log_every_n_steps`` iterations: ``loss/<player>`` and ``grad_norm/<player>`` of both players,
    ``logits/real``, ``logits/fake``, ``penalty/<name>`` (and ``penalty/<name>/generator``), and of parts that remember
    ``memory/<part>/<name>``.

    Args:
        generator: maps z (B, latent_dim), and labels (B,) if conditional, to samples (B, *shape).
        discriminator: maps samples, and labels if conditional, to logits (B, ...).
        loss: what both players minimise; the penalties and the constraint that it brings are added to those given.
        penalties: further terms of the players' losses.
        constraint: on the discriminator's parameters, by its layers or by projection after each of its steps.
        augmentation: what is done to real and fake rows before the discriminator sees them, one after the other.
        latent_dim: size of z; read off ``generator.latent_dim`` if None.
        latent_distribution: "normal", or "uniform" on [-1, 1].
        num_classes: with it the batch's labels condition both networks; None for an unconditional GAN.
        ema_decay: decay per iteration of the average of the generator's parameters that ``sample`` uses; shorter in
            the first iterations, min(ema_decay, (1 + t) / (10 + t)); 0 samples from the generator itself.
        kwargs: arguments of GameModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        loss: AdversarialLoss,
        penalties: Sequence[Penalty] = (),
        constraint: Constraint | None = None,
        augmentation: Sequence[Augmentation] = (),
        latent_dim: int | None = None,
        latent_distribution: Literal["normal", "uniform"] = "normal",
        num_classes: int | None = None,
        ema_decay: float = 0.999,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 <= ema_decay < 1:
            raise ValueError(f"ema_decay={ema_decay}: must be in [0, 1).")
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes={num_classes}: must be at least 1, or None for an unconditional GAN.")
        if latent_distribution not in ("normal", "uniform"):
            raise ValueError(f"latent_distribution={latent_distribution!r}: must be 'normal' or 'uniform'.")
        self.generator = generator
        self.discriminator = discriminator
        self.generator_ema = copy.deepcopy(generator).requires_grad_(False).eval()
        check_parts(loss, penalties, constraint, augmentation)
        self.loss = loss
        self.penalties = (*loss.penalties, *penalties)
        refuse_contradictions(loss, self.penalties, constraint)
        self.augmentation = tuple(augmentation)
        names = _numbered([f"penalty/{penalty.name}" for penalty in self.penalties])
        self._terms: dict[str, Term] = {"loss": loss, **dict(zip(names, self.penalties, strict=True))}
        self._layers = tuple(layer for term in self._terms.values() for layer in term.layers)
        check_layers(discriminator, self._layers)
        self.constraint = constraint or loss.constraint
        if self.constraint is not None:
            with keyed_layers(self.seed, -1, 0):
                self.constraint.prepare(discriminator)
        parts = {f"augmentation/{k}": augmentation for k, augmentation in enumerate(self.augmentation)}
        self._memories = Memories({**self._terms, **parts})
        self._moved_on: GameBatch | None = None
        self.latent_dim = latent_dim_of(generator, latent_dim)
        self.latent_distribution = latent_distribution
        self.num_classes = num_classes
        self.ema_decay = ema_decay
        self._shape: tuple[int, ...] | None = None
        self._kept: tuple[GameBatch, Tensor] | None = None

    @property
    def players(self) -> tuple[nn.Module, nn.Module]:
        return self.generator, self.discriminator

    # --- losses -------------------------------------------------------------------------------------------------

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        return self._loss(player, batch, call(self.generator, batch.z, batch.labels))[0]

    def share(self, batch: GameBatch) -> None:
        """One forward of G for both players; D's step without it builds no graph of G, which is frozen there."""
        self._kept = batch, call(self.generator, batch.z, batch.labels)

    def training_loss(self, player: int, batch: GameBatch) -> Tensor:
        self._memories.turn(batch)
        kept = self._kept
        fake = kept[1] if kept and kept[0] is batch else call(self.generator, batch.z, batch.labels)
        if player == GENERATOR:
            self._kept = None
            return self._loss(player, batch, fake, self.record)[0]
        loss, d = self._loss(player, batch, fake.detach(), self.record)
        self.record("logits/real", d.real_logits)
        self.record("logits/fake", d.fake_logits)
        self._memories.prepare(batch, d)
        return loss

    def discriminator_pass(self, player: int, batch: GameBatch, fake: Tensor) -> DiscriminatorPass:
        """What D says of the batch's real rows and of generated ones, (B, *shape), in the loss of ``player``.

        For who wants the loss without penalties, ``loss.generator(d)`` and ``loss.discriminator(d)``, or the logits.
        """
        d = self._pass(player, batch, *self._seen(player, batch, fake), {})
        d.memory = self._memories["loss"]
        return d

    def _loss(
        self,
        player: int,
        batch: GameBatch,
        fake: Tensor,
        record: Callable[[str, Tensor], None] = lambda name, value: None,
    ) -> tuple[Tensor, DiscriminatorPass]:
        """The player's loss with all terms, and the discriminator's pass that it was read from."""
        real, fake = self._seen(player, batch, fake)
        d = self._pass(player, batch, real, fake, self._terms)
        values = []
        for name, term in self._terms.items():
            d.memory = self._memories[name]
            value = term.generator(d) if player == GENERATOR else term.discriminator(d)
            if value is not None:
                values.append(value)
                if name != "loss":
                    record(name if player == DISCRIMINATOR else f"{name}/generator", value)
        return torch.stack(values).sum(), d

    def _pass(
        self, player: int, batch: GameBatch, real: Tensor, fake: Tensor, terms: dict[str, Term]
    ) -> DiscriminatorPass:
        due = [term.gradient_at(batch) for term in terms.values()] if player == DISCRIMINATOR else []
        # for G real rows go apart: where D is frozen they need no graph, and few losses ask for them
        return DiscriminatorPass(
            self.discriminator,
            batch,
            real,
            fake,
            gradient_at=frozenset[str]().union(*due),
            layers=self._layers,
            witness=None if self.loss.critic_is_logit else self.loss.critic,
            joint=player == DISCRIMINATOR,
        )

    def _seen(self, player: int, batch: GameBatch, fake: Tensor) -> tuple[Tensor, Tensor]:
        """What D sees of the batch's real rows and of ``fake``."""

        def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
            d = self._pass(DISCRIMINATOR, batch, real, fake, {})
            d.memory = self._memories["loss"]
            with unchanged_buffers(self.discriminator):
                return self.loss.discriminator(d)

        real = batch.real
        for k, augmentation in enumerate(self.augmentation):
            name = f"augmentation/{k}"
            view = View(batch, batch.random.under(name), player, self._memories[name], discriminator_loss)
            real, fake = augmentation(real, fake, view)
        return real, fake

    def jacobian(self, batch: GameBatch) -> GameJacobian:
        # a rule that takes its gradients from here makes no training pass: it is made for what moves on with each
        # (a diagnostic's batch, which has no index, moves nothing)
        if batch.index is not None and batch is not self._moved_on and self._moves_on:
            self._moved_on = batch
            with torch.enable_grad(), frozen(self.generator):
                self.training_loss(DISCRIMINATOR, batch)
        return super().jacobian(batch)

    @property
    def _moves_on(self) -> bool:
        """Whether a training pass changes more than gradients: memories, batch statistics, power iterations."""
        return bool(self._memories) or any(
            isinstance(module, _BatchNorm | _SpectralNorm) for player in self.players for module in player.modules()
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["memories"] = self._memories.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._memories.load_state_dict(checkpoint.get("memories", {}))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GANModule:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._memories.to(fn(torch.empty(0)).device)
        return self

    def latents(self, random: RandomRows) -> Tensor:
        shape = (self.latent_dim,)
        return random.normal("z", shape) if self.latent_distribution == "normal" else random.uniform("z", shape) * 2 - 1

    # --- after a step ---------------------------------------------------------------------------------------------

    def project(self, player: int) -> None:
        if player == GENERATOR:
            self._kept = None
        elif self.constraint is not None:
            self.constraint.apply(self.discriminator)

    @torch.no_grad()
    def after_iteration(self) -> None:
        self._memories.turn()
        for name, value in self._memories.named():
            self.record(f"memory/{name}", value)
        # torch's AveragedModel would read its counter on the host every iteration
        t = self.trainer.global_step
        decay = min(self.ema_decay, (1 + t) / (10 + t)) if self.ema_decay else 0.0
        average: list[Tensor] = list(self.generator_ema.parameters())
        current: list[Tensor] = list(self.generator.parameters())
        if average:
            torch._foreach_lerp_(average, current, 1 - decay)
        for kept, buffer in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(buffer)

    def train(self, mode: bool = True) -> GANModule:
        super().train(mode)
        self.generator_ema.eval()
        return self

    # --- sampling -------------------------------------------------------------------------------------------------

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Samples of the averaged generator, shape (B, *shape), in training space."""
        return call(self.generator_ema, z, labels)

    @torch.no_grad()
    def sample(
        self, n: int, *, seed: int | None = None, start: int = 0, labels: Tensor | None = None, ema: bool = True
    ) -> Tensor:
        """Samples ``start`` to ``start + n`` of the endless sequence that ``seed`` names.

        Sample i depends on (seed, i) and the parameters alone: not on n, the process, or numbers drawn before.

        Args:
            n: how many.
            seed: names the sequence; the module's own if None.
            start: index of the first.
            labels: their classes, shape (n,), for a conditional GAN; class i modulo num_classes if None.
            ema: sample from the averaged generator rather than the current one.

        Returns:
            Samples in training space, shape (n, *shape), on the module's device.
        """
        if n < 1 or start < 0:
            raise ValueError(f"sample(n={n}, start={start}): n must be at least 1 and start at least 0.")
        if labels is not None and len(labels) != n:
            raise ValueError(f"sample(n={n}) was given {len(labels)} labels: give one each.")
        first, last = start // SAMPLE_BLOCK, -(-(start + n) // SAMPLE_BLOCK)
        classes = self._sample_labels(n, start, first * SAMPLE_BLOCK, last * SAMPLE_BLOCK, labels)
        generator = self.generator_ema if ema else self.generator
        blocks = []
        with evaluating(generator):
            for i, block in enumerate(range(first, last)):
                random = RandomRows(
                    self.seed if seed is None else seed, block, -1, 0, SAMPLE_BLOCK, SAMPLE_BLOCK, torch.device("cpu")
                )
                z = self.latents(random).to(self.device, self._latent_dtype())
                rows = None if classes is None else classes[i * SAMPLE_BLOCK : (i + 1) * SAMPLE_BLOCK]
                blocks.append(call(generator, z, rows))
        offset = start - first * SAMPLE_BLOCK
        return torch.cat(blocks)[offset : offset + n]

    def _latent_dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.generator_ema.parameters()), torch.float32)

    def _sample_labels(self, n: int, start: int, low: int, high: int, labels: Tensor | None) -> Tensor | None:
        if self.num_classes is None:
            if labels is not None:
                raise ValueError("sample was given labels, but the GAN is unconditional (num_classes=None).")
            return None
        classes = torch.arange(low, high, device=self.device) % self.num_classes
        if labels is not None:
            if int(labels.min()) < 0 or int(labels.max()) >= self.num_classes:
                raise ValueError(f"sample was given labels outside 0 to {self.num_classes - 1}.")
            classes[start - low : start - low + n] = labels.to(self.device)
        return classes

    # --- checks -----------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        super().setup(stage)
        rows, classes = 2 * rows_per_logit(self.discriminator), self.num_classes
        z = torch.zeros(rows, self.latent_dim, device=self.device, dtype=self._latent_dtype())
        labels = None if classes is None else torch.arange(rows, device=self.device) % classes
        self._shape = check_networks(self.generator, self.discriminator, z, labels)
        warn_of_doubtful_parts(self.loss, self.penalties, self.constraint, self.discriminator)
        data = getattr(self.trainer, "datamodule", None)
        known = getattr(data, "num_classes", None)
        if classes is not None and known is not None and known > classes:
            raise ValueError(f"num_classes={classes}, and the data have {known} classes: make num_classes {known}.")
        shape = getattr(data, "training_shape", getattr(data, "shape", None))
        if shape is not None:
            check_shape(tuple(shape), self._shape, self.generator)

    def condition(self, real: Tensor, labels: Tensor | None) -> Tensor | None:
        if self._shape is not None and real.shape[1:] != self._shape:
            check_shape(tuple(real.shape[1:]), self._shape, self.generator)
        if not real.is_floating_point():
            raise ValueError(
                f"Real samples are {str(real.dtype).removeprefix('torch.')}: hand out floating point numbers in "
                "training space, for images pixel values from 0 to 1."
            )
        if self.num_classes is None:
            return None
        if labels is None:
            raise ValueError(f"num_classes={self.num_classes} needs batches of (real, labels), got no labels.")
        return labels


def _numbered(names: list[str]) -> list[str]:
    """The names, with /2 and on behind those that came before."""
    return [f"{name}/{k}" if (k := names[: i + 1].count(name)) > 1 else name for i, name in enumerate(names)]
