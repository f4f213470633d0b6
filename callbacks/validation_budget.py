"""A share of training time that validation may take."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities import rank_zero_info


class ValidationBudget(Callback):
    """Leaves validations out, rather than stalling the run, where they would take more than a share of training time.

    A validation that is due takes place if it, at the cost of the last one, keeps all of them within ``share`` of the
    time spent on training so far. The first takes place, to learn the cost, and so does that of the last iteration
    (where ``max_steps`` or ``max_epochs`` tell it), so that a run ends with metrics of its result. A validation is left
    out whole, so what `ModelCheckpoint` monitors is never a value of another iteration.

    With `EarlyStopping` none is left out, since its patience counts validations. Logged: ``validation/share``, the time
    of validations over that of training so far, and ``validation/seconds`` of the last but one.

    Which validations take place depends on the machine; what they find does not.

    Args:
        share: of the training time, above 0.
    """

    def __init__(self, share: float = 0.1) -> None:
        if not share > 0:
            raise ValueError(f"ValidationBudget(share={share}) must be positive; to validate always, leave it out.")
        self.share = share
        self.left_out = 0
        self._counted = False  # whether the user has someone count validations
        self._began = self._validating_since = 0.0
        self._spent = self._last = 0.0
        self._held: tuple[int | None, int | float | None] | None = None

    @property
    def spent_share(self) -> float:
        """Time of validations over time of training so far."""
        return self._spent / max(time.monotonic() - self._began - self._spent, 1e-9)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._began, self._spent, self._last, self.left_out = time.monotonic(), 0.0, 0.0, 0
        self._counted = any(isinstance(callback, EarlyStopping) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if self._counted:
            rank_zero_info("ValidationBudget leaves no validation out, since EarlyStopping counts them.")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validating_since = time.monotonic()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._last:
            pl_module.log_dict({"validation/share": self.spent_share, "validation/seconds": self._last})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._last = time.monotonic() - self._validating_since
            self._spent += self._last

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._counted or not self._due(trainer, batch_idx) or self._ends(trainer, batch_idx):
            return
        # one process decides: their clocks differ, and a validation needs all
        if trainer.strategy.broadcast(self._affordable()):
            return
        self.left_out += 1
        self._held = trainer.check_val_every_n_epoch, trainer.val_check_batch
        if trainer.check_val_every_n_epoch is None:
            trainer.val_check_batch = trainer.fit_loop.total_batch_idx + 2  # a number that does not divide this one's
        else:
            # likewise; above 1 it also keeps ModelCheckpoint from saving at the end of an epoch without a validation
            trainer.check_val_every_n_epoch = trainer.current_epoch + 2

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._restore(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore(trainer)
        if self.left_out:
            rank_zero_info(
                f"ValidationBudget left out {self.left_out} validations, which took {self._last:.3g} s each: for more, "
                f"raise its share ({self.share:g}), or give SampleMetrics fewer samples or cheaper metrics."
            )

    def _restore(self, trainer: Trainer) -> None:
        if self._held is not None:
            trainer.check_val_every_n_epoch, trainer.val_check_batch = self._held
            self._held = None

    def _affordable(self) -> bool:
        training = time.monotonic() - self._began - self._spent
        return not self._last or self._spent + self._last <= self.share * training

    @staticmethod
    def _due(trainer: Trainer, batch_idx: int) -> bool:
        """Whether the Trainer is about to validate, after this batch."""
        epochs, every = trainer.check_val_every_n_epoch, trainer.val_check_batch
        if not trainer.enable_validation or every is None or (epochs and (trainer.current_epoch + 1) % epochs):
            return False
        if every == float("inf"):
            return trainer.is_last_batch
        return ((trainer.fit_loop.total_batch_idx if epochs is None else batch_idx) + 1) % int(every) == 0

    @staticmethod
    def _ends(trainer: Trainer, batch_idx: int) -> bool:
        last = trainer.is_last_batch or batch_idx + 1 == trainer.num_training_batches
        return trainer.should_stop or (
            trainer.global_step == trainer.max_steps
            or (last and trainer.max_epochs is not None and trainer.current_epoch + 1 == trainer.max_epochs)
        )
