"""Says while training which failure a GAN shows, why, and what to try."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.diagnostic import Diagnostic
from callbacks.failures import FAILURES, Finding, Observation, Setting, diagnose
from callbacks.log_now import log_now
from callbacks.warn import warn_at
from gan_modules.optimizers import given_rate
from gan_modules.protocols import Game, Sampler

#: observations that are kept; of more, every second of the older half is left out
CAPACITY = 400
#: what the names begin with that rules read, by what logs them
_SOURCES = {
    "SampleMetrics": ("fid", "recall", "modes", "copies", "between"),
    "GradientHealth": ("health/",),
    "GameSpectrum": ("game/",),
    "WeightSpectrum": ("weights/",),
}


class DiagnosisWarning(UserWarning):
    """A GAN shows a failure, or another one than before, or none any more."""


class Diagnosis(Callback):
    """Reads what other callbacks measured, and names the failure that it sees, with evidence and a remedy.

    It measures nothing itself: SampleMetrics tell of lost modes, of samples between modes and of copies; GradientHealth
    of vanishing gradients, of D's strength and overfitting, and of cycles; GameSpectrum of what is ahead;
    WeightSpectrum of layers that collapse. What is not measured is not diagnosed. It looks after each validation, after
    each look of a diagnostic between two of them, and where a run ends because numbers are no longer finite. The rules
    and their thresholds are in ``callbacks/failures.py``; how often they are right is in docs/diagnosis.md.

    The failures: numerical trouble, spectral collapse, memorisation, discriminator overfitting, limit cycle, divergence
    ahead, vanishing gradient, mode collapse, discriminator overpowering, manifold collapse. A failure is named once it
    holds at two observations in a row. Of several, the first cause comes first.

    On the console there is one warning for each change. Logged are ``diagnosis/<failure>``, 1 while it holds and 0
    after, and a table ``diagnosis`` where a logger takes tables; ``diagnosis.jsonl`` in the run's directory holds every
    change. The observations are in the checkpoint, from which `gan-modules diagnose` draws its curves.
    """

    def __init__(self) -> None:
        #: what the run shows now, the first cause first
        self.findings: list[Finding] = []
        #: what was measured so far
        self.history: list[Observation] = []
        #: each change: iteration, failure, evidence, remedy
        self.changes: list[tuple[int, str, str, str]] = []
        self._told: list[str] = []  # the failures that were last spoken of
        self._named: set[str] = set()
        self._seen_at: dict[int, int] = {}  # the iteration of a diagnostic's look that was taken note of
        self._before_validation: set[str] = set()
        self._validated: set[str] = set()  # names that are measured at validations alone

    # --- hooks ------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Game):
            raise TypeError(f"Diagnosis needs a game with two players; {type(pl_module).__name__} has none.")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:  # of an earlier run of this object
            self.__init__()  # type: ignore[misc]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if any(self._is_news(d) for d in _diagnostics(trainer) if d.every_n_steps is not None):
            self.observe(trainer, pl_module, stale=self._validated)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before_validation = set(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            found = set(trainer.callback_metrics) - self._before_validation
            self._validated |= found.difference(*(d.latest for d in _diagnostics(trainer)))
            self.observe(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if isinstance(exception, FloatingPointError):
            self.observe(trainer, pl_module, {"numbers/non_finite": 1.0}, self._validated)

    # --- an observation ---------------------------------------------------------------------------------------------

    def observe(
        self,
        trainer: Trainer,
        pl_module: Any,
        further: dict[str, float] | None = None,
        stale: Set[str] = frozenset(),
    ) -> list[Finding]:
        """Take note of what was measured since the last time, and say what has changed.

        Args:
            trainer: whose ``callback_metrics`` have the values.
            pl_module: the game.
            further: what is known beside them.
            stale: names whose values were taken note of before: one value twice is neither confirmed nor at rest.
        """
        stale = set(stale).union(*(d.latest for d in _diagnostics(trainer) if not self._is_news(d)))
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name not in stale}
        values = {n: v for n, v in values.items() if math.isfinite(v) and not n.startswith("diagnosis/")}
        self._seen_at = {id(d): d.iteration for d in _diagnostics(trainer)}
        self.history.append(Observation(trainer.global_step, values | (further or {})))
        if len(self.history) > CAPACITY:
            half = CAPACITY // 2
            self.history = self.history[:half:2] + self.history[half:]
        findings = diagnose(self.history, setting_of(trainer, pl_module))
        self.findings = findings
        self._log(trainer)
        if (names := [finding.failure for finding in findings]) != self._told:
            self._told = names
            self._tell(trainer)
        return findings

    @property
    def summary(self) -> str:
        """The failures that the run shows now, or none, and what has measured nothing so far."""
        if self.findings:
            return ", ".join(f.failure for f in self.findings)
        known = {name for observation in self.history for name in observation.values}
        silent = [name for name, prefixes in _SOURCES.items() if not any(n.startswith(prefixes) for n in known)]
        return f"none found, without a look of {', '.join(silent)}" if silent else "none found"

    def _is_news(self, diagnostic: Diagnostic) -> bool:
        return bool(diagnostic.latest) and diagnostic.iteration != self._seen_at.get(id(diagnostic))

    def _log(self, trainer: Trainer) -> None:
        now = {finding.failure for finding in self.findings}
        self._named |= now
        if self._named:
            named = [failure for failure in FAILURES if failure in self._named]
            log_now(trainer, {f"diagnosis/{name.replace(' ', '_')}": float(name in now) for name in named})

    def _tell(self, trainer: Trainer) -> None:
        step = trainer.global_step
        rows = [(step, f.failure, "; ".join(f.evidence), f"{f.remedy} ({f.why})") for f in self.findings]
        self.changes += rows or [(step, "none", "what was found before is gone", "")]
        text = " Also ".join(map(str, self.findings)) or "what was found before is gone: no failure is seen now."
        warn_at(step, text, DiagnosisWarning, self)
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = Path(trainer.default_root_dir, "diagnosis.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            for row in rows or self.changes[-1:]:
                file.write(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n")
        for logger in trainer.loggers:
            if hasattr(logger, "log_table"):
                logger.log_table("diagnosis", columns=list(_COLUMNS), data=[list(row) for row in self.changes])

    # --- saving and loading -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {
            "history": [(o.iteration, dict(o.values)) for o in self.history],
            "changes": self.changes,
            "named": sorted(self._named),
            "told": self._told,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [Observation(iteration, values) for iteration, values in state_dict["history"]]
        self.changes = [tuple(row) for row in state_dict["changes"]]
        self._named, self._told = set(state_dict["named"]), state_dict["told"]


_COLUMNS = ("iteration", "failure", "evidence", "remedy")


def _diagnostics(trainer: Trainer) -> Sequence[Diagnostic]:
    return [c for c in trainer.callbacks if isinstance(c, Diagnostic)]  # type: ignore[attr-defined]


def setting_of(trainer: Trainer, pl_module: Any) -> Setting:
    """What remedies depend on, as far as the module has it."""
    parts = [*getattr(pl_module, "penalties", ()), *getattr(pl_module, "augmentation", ())]
    parts.append(getattr(pl_module, "constraint", None))
    first, second = map(given_rate, trainer.optimizers)  # a remedy is a flag, and a schedule multiplies what it sets
    shape = getattr(getattr(trainer, "datamodule", None), "shape", ())
    return Setting(
        loss=type(getattr(pl_module, "loss", None)).__name__,
        rule=type(getattr(pl_module, "rule", None)).__name__,
        precision=str(trainer.precision),
        images=isinstance(pl_module, Sampler) and len(shape) == 3,
        rates=(first, second),
        parts=frozenset(type(part).__name__ for part in parts if part is not None),
    )
