"""What all diagnostics share: a look at the game every so often, within a share of the training time."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from callbacks.log_now import log_now
from callbacks.warn import warn_at
from gan_modules.discriminator_pass import rows_per_logit
from gan_modules.dynamics import NotTwiceDifferentiableError
from gan_modules.protocols import DISCRIMINATOR, Game
from gan_modules.steps import unchanged_buffers


class DiagnosticWarning(UserWarning):
    """A diagnostic could not look, or found what a user may want to act on."""


class Diagnostic(Callback, ABC):
    """A look at the game as it is, every so many iterations, within a share of the training time.

    Training is the same, bit for bit, with and without it: a look reads parameters, draws nothing from the global
    generators, and leaves buffers as they are. It sees the players in the mode that they train in, before a validation
    too, for which Lightning has put them in eval mode by then. What it finds is logged at once under names that begin
    with ``prefix``; values that are not finite are left out. Beside them ``<prefix>/seconds``, what the look took, and
    ``<prefix>/share``, all looks so far over the training so far.

    Where an operation of a network has no second derivative, there is one warning that names it and the remedy, and no
    more looks; everything else goes on.

    Args:
        every_n_steps: iterations between two looks; before each validation if None.
        budget: share of the training time that looks may take. One that is due is left out where it would, at the cost
            of the last one, exceed it. So which looks take place depends on the machine; what they find does not. All
            take place if None.

    Raises:
        ValueError: ``every_n_steps`` below 1, or a budget that is not positive.
    """

    #: what logged names begin with
    prefix: ClassVar[str]
    #: what the first look costs, at a guess, in iterations of training
    guess: ClassVar[float] = 10.0

    def __init__(self, every_n_steps: int | None = None, budget: float | None = 0.01) -> None:
        name = type(self).__name__
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                f"{name}(every_n_steps={every_n_steps}): must be at least 1, or None for before each validation."
            )
        if budget is not None and not budget > 0:
            raise ValueError(f"{name}(budget={budget}): a share of the training time above 0, or None for no bound.")
        self.every_n_steps = every_n_steps
        self.budget = budget
        #: what the latest look logged, and the iteration after which it was taken
        self.latest: dict[str, float] = {}
        self.iteration = 0
        self.left_out = 0
        self._asked = False
        self._off = False
        self._complaints: set[str] = set()
        self._batch: Any = None
        self._modes: dict[nn.Module, bool] = {}  # whether each of the players' modules trains in training mode
        self._began = 0.0
        self._began_at = 0
        self._spent = self._last = 0.0

    @abstractmethod
    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        """What is to be logged, by its whole name, of the game as it is and a training batch.

        On several processes all look, each at its own rows: what raises, and which names there are, must be the same on
        all of them, or those that go on wait for the others without end.

        Raises:
            NotTwiceDifferentiableError: no look is possible in this run.
            FloatingPointError: the game is past its numbers.
        """

    def look_now(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> dict[str, float]:
        """Look, log and keep what was found; nothing where a look is not possible, which is said once."""
        self._asked = True
        if self._off:
            return {}
        began = time.perf_counter()
        kept = random_state_kept(pl_module.device), unchanged_buffers(nn.ModuleList(_players(pl_module)))
        try:
            with kept[0], kept[1], _in_mode(self._modes), torch.inference_mode(False), torch.enable_grad():
                values = self.look(trainer, pl_module, batch)
        except NotTwiceDifferentiableError as error:
            self._off = True
            self.complain(trainer, f"no more looks in this run: {error}")
            values = {}
        except FloatingPointError as error:
            self.complain(trainer, str(error))
            values = {}
        self._last = time.perf_counter() - began
        self._spent += self._last
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if values:
            values[f"{self.prefix}/seconds"] = self._last
            values[f"{self.prefix}/share"] = self._spent / max(self._trained(), 1e-9)
            log_now(trainer, values)
        self.latest, self.iteration = values, trainer.global_step
        return values

    def complain(self, trainer: Trainer, text: str) -> None:
        """Warn of something once in the run."""
        if text not in self._complaints:
            warn_at(trainer.global_step, text, DiagnosticWarning, self)
        self._complaints.add(text)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Game) or not hasattr(pl_module, "game_batch"):
            raise TypeError(
                f"{type(self).__name__} needs a game: two players, player_loss, and game_batch, as every GameModule "
                f"has; {type(pl_module).__name__} has none."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began, self._began_at = time.perf_counter(), trainer.global_step
        self._spent = self._last = 0.0
        self.left_out = 0
        self._asked = False
        self._modes = {}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not self._modes:  # once, for that takes as long as a small layer
            self._modes = {m: m.training for player in _players(pl_module) for m in player.modules()}
        if self.every_n_steps is None:
            self._batch = batch
        elif trainer.global_step and trainer.global_step % self.every_n_steps == 0:
            self._look_if_affordable(trainer, pl_module, batch)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batch is not None and not trainer.sanity_checking:
            self._look_if_affordable(trainer, pl_module, self._batch)
            self._batch = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._batch = None  # `trainer.validate` may follow
        name = type(self).__name__
        if self.every_n_steps is None and not (self._asked or self.left_out or self._off):
            rank_zero_info(
                f"{name} has not looked: it looks before validations, and there was none. Give it every_n_steps, or "
                "the run data to validate on."
            )
        if self.left_out:
            cost = f", which take {self._last:.3g} s each" if self._last else ""
            rank_zero_info(
                f"{name} left out {self.left_out} look{'s' * (self.left_out > 1)}{cost}: for more, raise its budget "
                f"({self.budget:g} of the training time)."
            )

    # --- the budget -------------------------------------------------------------------------------------------------

    def _look_if_affordable(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        # one process decides: their clocks differ, and a look needs all
        if self._off:
            return
        if trainer.strategy.broadcast(self._affordable(trainer)):
            self.look_now(trainer, pl_module, batch)
        else:
            self.left_out += 1

    def _affordable(self, trainer: Trainer) -> bool:
        if self.budget is None:
            return True
        trained = self._trained()
        guess = self.guess * trained / max(trainer.global_step - self._began_at, 1)
        return self._spent + (self._last or guess) <= self.budget * trained

    def _trained(self) -> float:
        """Seconds since training began, but for the looks."""
        return time.perf_counter() - self._began - self._spent


def first_draw(batch: Any, pl_module: Any, rows: int | None = None) -> tuple[Tensor, Tensor | None]:
    """Real rows and labels of the first of the iteration's draws, at most ``rows``, a whole number of logits' rows."""
    real, labels = (batch, None) if isinstance(batch, Tensor) else (batch[0], batch[1] if len(batch) == 2 else None)
    n = len(real) // getattr(pl_module, "draws", 1)
    if rows is not None:
        k = rows_per_logit(_players(pl_module)[DISCRIMINATOR])
        n = min(n, max(k, rows - rows % k))
    return real[:n], None if labels is None else labels[:n]


def _players(pl_module: Any) -> tuple[nn.Module, nn.Module]:
    players: tuple[nn.Module, nn.Module] = pl_module.players
    return players


@contextmanager
def _in_mode(modes: Mapping[nn.Module, bool]) -> Iterator[None]:
    """The modules in the given modes (training or evaluation), for a while."""
    now = {module: module.training for module in modes}
    try:
        for module, training in modes.items():
            module.training = training
        yield
    finally:
        for module, training in now.items():
            module.training = training


@contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Layers of chance draw from the global generators: put those back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
