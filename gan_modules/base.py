"""The only training loop: a two-player game, moved by an update rule, counted in iterations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gan_modules import strategies
from gan_modules.batch import GameBatch, RandomRows
from gan_modules.dynamics import GameJacobian
from gan_modules.hyperparameters import SavesArguments
from gan_modules.optimizers import Adam
from gan_modules.protocols import PLAYER_NAMES
from gan_modules.record import Record, logs_at, refuse_non_finite_numbers, refuse_non_finite_parameters
from gan_modules.rules import Alternating, UpdateRule
from gan_modules.steps import CountedHandle, frozen, keyed_layers, real_and_labels

OptimizerCallable = Callable[[Any], Optimizer]
SchedulerCallable = Callable[[Optimizer], LRScheduler]


class GameModule(SavesArguments, LightningModule, ABC):
    """A differentiable two-player game under manual optimization.

    A subclass gives ``players`` and ``player_loss``; a variant gives neither and no ``training_step``. One iteration
    is one ``training_step`` is one ``global_step``, whatever the rule does in it. Every random number is a function
    of (seed, iteration, draw), drawn for the global batch, each process taking its rows.

    The training batch is ``real`` or ``(real, labels)`` with ``draws`` times the rows of a step: the rule's
    draws, one after the other. Real rows are never silently reused.

    Args:
        rule: how the players move in an iteration.
        generator_optimizer: makes the generator's optimizer from its parameters.
        discriminator_optimizer: makes the discriminator's.
        generator_scheduler: makes a learning-rate schedule, stepped once an iteration, from the optimizer.
        discriminator_scheduler: the same for the discriminator.
        gradient_clip_norm: largest norm of a player's gradient, or None.
        seed: keys every random number of training and the default samples; 0 if None, and under the command line
            ``--seed_everything``.
    """

    def __init__(
        self,
        *,
        rule: UpdateRule | None = None,
        generator_optimizer: OptimizerCallable = Adam,
        discriminator_optimizer: OptimizerCallable = Adam,
        generator_scheduler: SchedulerCallable | None = None,
        discriminator_scheduler: SchedulerCallable | None = None,
        gradient_clip_norm: float | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self._save_arguments()
        if gradient_clip_norm is not None and not gradient_clip_norm > 0:
            raise ValueError(f"gradient_clip_norm={gradient_clip_norm}: must be positive, or None not to clip.")
        self.automatic_optimization = False
        self.rule = rule if rule is not None else Alternating()
        self.seed = 0 if seed is None else seed
        self.gradient_clip_norm = gradient_clip_norm
        self._optimizer_makers = (generator_optimizer, discriminator_optimizer)
        self._scheduler_makers = (generator_scheduler, discriminator_scheduler)
        self._rule_state: Any = None
        self._rule_started = False
        self._has_dropout = False
        self.counted = False
        self._iteration = 0
        self._record = Record()

    # --- the game -----------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def players(self) -> tuple[nn.Module, nn.Module]:
        """(generator, discriminator), or the two players of a toy game, in the order in which they are indexed."""

    @abstractmethod
    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        """The loss that ``player`` minimises, as a pure function of both players' parameters and the batch."""

    def training_loss(self, player: int, batch: GameBatch) -> Tensor:
        """``player_loss`` on the training path: the other player is frozen, and the gradient for ``player`` equal."""
        return self.player_loss(player, batch)

    def share(self, batch: GameBatch) -> None:
        """Compute what the gradients of both players on ``batch`` have in common; called before the first of them."""

    def latents(self, random: RandomRows) -> Tensor:
        """The latents of a batch, shape (rows, latent_dim)."""
        return random.normal("z", (0,))

    def condition(self, real: Tensor, labels: Tensor | None) -> Tensor | None:
        """The labels that condition the game, or None; raises where the rows of a training batch do not fit it."""
        return labels

    def project(self, player: int) -> None:
        """Called after each step of ``player``: the place to impose a constraint on its parameters."""

    def after_iteration(self) -> None:
        """Called once an iteration, after both players moved."""

    @property
    def draws(self) -> int:
        """Batches of ``batch_size`` rows that an iteration uses; datamodules and loaders ask for it."""
        return self.rule.draws

    def gradient(self, player: int, batch: GameBatch, *, shared: bool = False) -> None:
        if shared:
            self.share(batch)
        parameters = [p for p in self.players[player].parameters() if p.requires_grad]
        for parameter in parameters:
            parameter.grad = None
        # a frozen player costs no gradient, and DDP does not wait for it before it averages over processes
        with frozen(self.players[1 - player]):
            loss = self.training_loss(player, batch)
        if not loss.requires_grad:  # a loss that says nothing of this player, such as D's of a kernel on the data
            for parameter in parameters:
                parameter.grad = torch.zeros_like(parameter)
        elif self._attached is None:
            loss.backward(inputs=parameters)  # type: ignore[no-untyped-call]
        else:
            self.manual_backward(loss, inputs=parameters)
        self._record.loss(player, loss)

    def jacobian(self, batch: GameBatch) -> GameJacobian:
        jacobian = GameJacobian(self, batch)
        for player, loss in enumerate(jacobian.losses):
            self._record.loss(player, loss)
        return jacobian

    def all_mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        if self._attached is None or self._attached.world_size == 1:
            return list(tensors)
        return [self._attached.strategy.reduce(t.clone(), reduce_op="mean") for t in tensors]

    @property
    def _attached(self) -> Trainer | None:
        """The Trainer, or None for a game that is played without one."""
        try:
            return self.trainer
        except RuntimeError:
            return None

    def record(self, name: str, value: Tensor) -> None:
        """Keep the latest tensor under ``name``; its mean is logged at the log interval, and costs nothing before."""
        self._record.keep(name, value)

    # --- the iteration ------------------------------------------------------------------------------------------

    def training_step(self, batch: Any, batch_idx: int) -> None:
        iteration = self._iteration = self.trainer.global_step
        draw = self._draw(*real_and_labels(batch), iteration)
        optimizers = [CountedHandle(self, player, h.optimizer) for player, h in enumerate(self.optimizer_handles())]
        if not self._rule_started:
            self._rule_state, self._rule_started = self.rule.init(self, optimizers), True
        self.counted = False
        with self._keyed_layers(iteration):
            self._rule_state = self.rule.step(self, optimizers, draw, self._rule_state)
        if not self.counted:
            raise RuntimeError(f"{self.rule} moved no player: a rule must step at least one optimizer an iteration.")
        for scheduler in self._schedulers():
            scheduler.step()
        self.after_iteration()
        if logs_at(self.trainer, self.trainer.global_step):
            numbers = self._record.take(self.trainer)
            self.log_dict(numbers, batch_size=1)
            refuse_non_finite_numbers(numbers, self.trainer.global_step)

    def _draw(self, real: Tensor, labels: Tensor | None, iteration: int) -> Callable[[int], GameBatch]:
        rows, rest = divmod(len(real), self.draws)
        if rest or not rows:
            raise ValueError(
                f"A training batch of {len(real)} rows can't be split into the {self.draws} draws of {self.rule}: "
                f"let the loader yield a multiple of {self.draws} rows (batch_size times {self.draws})."
            )

        def draw(k: int) -> GameBatch:
            part = slice(k * rows, (k + 1) * rows)
            return self.game_batch(real[part], None if labels is None else labels[part], iteration=iteration, draw=k)

        return draw

    def game_batch(
        self, real: Tensor, labels: Tensor | None = None, *, iteration: int = 0, draw: int | None = None
    ) -> GameBatch:
        """What the players' losses are evaluated on, from this process's real rows.

        Args:
            real: shape (B, *shape), the same number of rows on each process.
            labels: their classes, shape (B,), or None.
            iteration: with ``draw`` and the seed it names the random numbers.
            draw: which of the iteration's batches; None makes a batch for diagnostics, with latents of its own, on
                which lazy penalties count with their mean.
        """
        rows = len(real)
        world, rank = (1, 0) if self._attached is None else (self._attached.world_size, self._attached.global_rank)
        random = RandomRows(
            self.seed, iteration, -2 if draw is None else draw, rank * rows, rows, world * rows, real.device
        )
        index = None if draw is None else iteration * self.draws + draw
        return GameBatch(real, self.latents(random).to(real.dtype), random, self.condition(real, labels), index)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # the one place where gradients are unscaled under AMP, and whole
        player = [o.optimizer for o in self.optimizer_handles()].index(optimizer)
        if self.gradient_clip_norm is None and not logs_at(self.trainer, self._iteration + 1):
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        self.record(f"grad_norm/{PLAYER_NAMES[player]}", norm)
        if self.gradient_clip_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grads_with_norm_(parameters, self.gradient_clip_norm, norm)

    def configure_optimizers(self) -> Any:
        configured: list[dict[str, Any]] = []
        for player, optimizer, scheduler in zip(
            self.players, self._optimizer_makers, self._scheduler_makers, strict=True
        ):
            made = optimizer([p for p in player.parameters() if p.requires_grad])
            strategies.refuse_hidden_scale(self.trainer, made)
            configured.append({"optimizer": made})
            if scheduler is not None:
                configured[-1]["lr_scheduler"] = scheduler(made)
        self.rule.check([entry["optimizer"] for entry in configured])
        return configured

    def optimizer_handles(self) -> Sequence[LightningOptimizer]:
        """Lightning's handles of both optimizers, whose steps count."""
        handles = self.optimizers()
        assert isinstance(handles, list)
        return handles

    def _schedulers(self) -> Sequence[LRScheduler]:
        schedulers: Any = self.lr_schedulers()
        if schedulers is None:
            return []
        return schedulers if isinstance(schedulers, list) else [schedulers]

    # --- saving and loading ---------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses to write parameters that aren't finite, so that the last good checkpoint stays."""
        strategies.average_buffers(self)
        refuse_non_finite_parameters(self)
        checkpoint["injected"] = self._injected
        if self._rule_started:
            checkpoint["rule_state"] = self._rule_state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._check_arguments(checkpoint)
        if "rule_state" in checkpoint:
            self._rule_state, self._rule_started = checkpoint["rule_state"], True

    # --- what Lightning asks --------------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[Any]:
        strategies.refuse_unsupported(self.trainer)  # the first hook of a run, before Lightning's own checks
        return []

    def setup(self, stage: str) -> None:
        if len(self.players) != 2:
            raise TypeError(f"{type(self).__name__} has {len(self.players)} players: a game has two.")
        strategies.prepare(self.trainer)
        # a checkpoint is loaded next, which must find the precision it was written in
        self.trainer.strategy.precision_plugin.convert_module(self)
        self._has_dropout = any(isinstance(m, _DropoutNd) and m.p > 0 for p in self.players for m in p.modules())

    def _keyed_layers(self, iteration: int) -> AbstractContextManager[None]:
        return keyed_layers(self.seed, iteration, self.trainer.global_rank) if self._has_dropout else nullcontext()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing of its own: it exists so that validation runs, and metric callbacks read the batch."""

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """As ``validation_step``."""

    def on_validation_start(self) -> None:
        strategies.average_buffers(self)
        refuse_non_finite_parameters(self)

    def on_train_end(self) -> None:
        if not self._record.empty:
            refuse_non_finite_numbers(self._record.take(self.trainer), self.trainer.global_step)
