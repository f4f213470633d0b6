"""Says when a generator loses modes, while its state from before can still be kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks.collapse_rule import CollapseRule, Drop
from callbacks.log_now import log_now
from callbacks.sample_metrics import SampleMetrics
from callbacks.warn import warn_at

_DIRECTORY = "checkpoints"
HEALTHY = "healthy.ckpt"
BEFORE = "before_collapse.ckpt"


class CollapseWarning(UserWarning):
    """A generator has collapsed, or has recovered."""


class CollapseAlarm(Callback):
    """Warns when coverage, or what else it monitors, drops beyond its noise, and keeps the checkpoint from before.

    It reads what SampleMetrics logged at each validation, and takes no samples itself. When a collapse begins and when
    it is over there is one warning on the console, with what dropped from where to where, its noise, the iteration and
    the checkpoint. For what counts as a collapse see CollapseRule; a run that has not learnt has nothing to lose. The
    defaults were chosen on small GANs, and measured on others (docs/collapse_alarm.md).

    Logged at every evaluation:

    - ``collapse/alarm``: 1 while the generator is collapsed, else 0.
    - ``collapse/<name>``: the share of its best level that the quantity has lost, in [0, 1]; absent before it has a
      level.

    The state of the last evaluation at which nothing had dropped by half of what alarms is in
    ``checkpoints/healthy.ckpt``, at the cost of one more checkpoint written at such evaluations. On alarm it becomes
    ``checkpoints/before_collapse.ckpt``, from which one can sample, or train on with ``--ckpt_path``.

    Args:
        monitor: logged names of quantities of which more is better: shares up to 1, or effective numbers.
        threshold: drop that alarms, in standard deviations of its noise.
        least_drop: drop that alarms, as a share of the best level; both have to be exceeded.
        agree: number of quantities that have to drop.
        window: evaluations of which the fluctuation is taken.
        learnt: share of what the reals score that every quantity has to have reached before any can drop.
        n_samples: of which the quantities are estimated; those of the run's SampleMetrics if None.
        keep: whether to keep the checkpoint from before.
        stop: whether to end the run on alarm.

    Raises:
        ValueError: no or doubled names, ``agree`` above their number, or thresholds out of range.
    """

    def __init__(
        self,
        monitor: Sequence[str] = ("coverage",),
        threshold: float = 6.0,
        least_drop: float = 0.25,
        agree: int = 1,
        window: int = 20,
        learnt: float = 0.25,
        n_samples: int | None = None,
        keep: bool = True,
        stop: bool = False,
    ) -> None:
        self.monitor = [monitor] if isinstance(monitor, str) else list(monitor)
        if not self.monitor or len(set(self.monitor)) < len(self.monitor):
            raise ValueError(f"CollapseAlarm(monitor={self.monitor}): give one or more different logged names.")
        if agree > len(self.monitor):
            raise ValueError(f"CollapseAlarm(agree={agree}): only {len(self.monitor)} quantities are monitored.")
        if n_samples is not None and n_samples < 1:
            raise ValueError(f"CollapseAlarm(n_samples={n_samples}): must be at least 1.")
        self.rule = CollapseRule(threshold, least_drop, agree, window, learnt)
        self.n_samples = n_samples
        self.keep = keep
        self.stop = stop
        #: the checkpoint from before the latest collapse, and its iteration
        self.path: Path | None = None
        self.before: int | None = None
        self._healthy_at: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:  # what an earlier run of this object reached is no level of this one
            self.rule.load_state_dict({"collapsed": False, "courses": {}})
            self._healthy_at = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        values = self._values(trainer)
        logged = trainer.callback_metrics
        floors = {name: float(logged[f"{name}_floor"]) for name in values if f"{name}_floor" in logged}
        before = self.rule.collapsed
        drops = self.rule.see(values, self._samples(trainer), floors)
        self._log(trainer, drops)
        if self.rule.collapsed and not before:
            self._alarm(trainer, drops)
        elif before and not self.rule.collapsed:
            self._warn(trainer, f"{_words(drops)}: recovered.")
        if not self.rule.collapsed and not any(drop.near for drop in drops.values()):
            self._keep(trainer)

    def _values(self, trainer: Trainer) -> dict[str, float]:
        """What validation logged of the monitored quantities.

        Raises:
            ValueError: a name that no validation has logged.
        """
        logged = trainer.callback_metrics
        if missing := [name for name in self.monitor if name not in logged]:
            raise ValueError(
                f"CollapseAlarm(monitor={self.monitor}): {', '.join(missing)} not logged by validation; there are "
                f"{', '.join(sorted(logged)) or 'no values'}. Name some of these, or give SampleMetrics their metrics."
            )
        return {name: float(logged[name]) for name in self.monitor}

    def _samples(self, trainer: Trainer) -> int | None:
        counts = [c.n_samples for c in trainer.callbacks if isinstance(c, SampleMetrics)]  # type: ignore[attr-defined]
        return self.n_samples or next(iter(counts), None)

    def _log(self, trainer: Trainer, drops: Mapping[str, Drop]) -> None:
        values = {f"collapse/{name}": drop.share for name, drop in drops.items() if drop.level is not None}
        values["collapse/alarm"] = float(self.rule.collapsed)
        log_now(trainer, values)

    def _alarm(self, trainer: Trainer, drops: Mapping[str, Drop]) -> None:
        fallen = {name: drop for name, drop in drops.items() if name in self.rule.fallen}
        self._warn(trainer, f"{_words(fallen)}: the generator collapses. {self._secure(trainer)}")
        if self.stop:
            trainer.should_stop = True

    def _warn(self, trainer: Trainer, text: str) -> None:
        warn_at(trainer.global_step, text, CollapseWarning, self)

    # --- the checkpoint from before ---------------------------------------------------------------------------------

    def _keep(self, trainer: Trainer) -> None:
        if self.keep and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._healthy_at = trainer.global_step  # first: the checkpoint holds it
            trainer.save_checkpoint(_directory(trainer) / HEALTHY, weights_only=False)

    def _secure(self, trainer: Trainer) -> str:
        """Put the last healthy checkpoint where no later one overwrites it, and say where."""
        self.path, self.before = None, self._healthy_at
        self._healthy_at = None
        source, target = _directory(trainer) / HEALTHY, _directory(trainer) / BEFORE
        if self.before is None or (trainer.is_global_zero and not source.exists()):
            return "There is no checkpoint from before."
        if trainer.is_global_zero:
            os.replace(source, target)
        self.path = target
        return f"The checkpoint from before, of iteration {self.before}: {target}"

    def state_dict(self) -> dict[str, Any]:
        return {"rule": self.rule.state_dict(), "healthy_at": self._healthy_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rule.load_state_dict(state_dict["rule"])
        self._healthy_at = state_dict["healthy_at"]


def _directory(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir, _DIRECTORY)


def _words(drops: Mapping[str, Drop]) -> str:
    """Each quantity's change: coverage 0.93 -> 0.21 (noise 0.02)."""
    known = {name: drop for name, drop in drops.items() if drop.level is not None}
    return ", ".join(f"{name} {d.level:.3g} -> {d.value:.3g} (noise {d.noise:.2g})" for name, d in known.items())
