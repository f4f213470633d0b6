"""Everything that can be measured of a checkpoint, and the report of it."""

from __future__ import annotations

import inspect
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from rich.console import Console
from torch import Tensor

import callbacks
from callbacks.data_space import decoder, has_reals
from callbacks.diagnosis import Diagnosis, setting_of
from callbacks.diagnostic import Diagnostic
from callbacks.failures import Observation, Setting, diagnose
from callbacks.metrics import ModeCoverage, Pixels, RandomProjection
from callbacks.report import Record, render
from callbacks.report.curves import of_directory, of_observations
from callbacks.sample_metrics import SampleMetrics
from gan_modules.protocols import Sampler

#: values of a sample up to which metrics are taken of the values themselves, where a run says nothing else
_FEW = 256
#: observations from which on a history says whether a run still learns, at each of those at which a failure must hold
_ENOUGH = 8
#: samples that are drawn
_SHOWN = 1000
#: how diagnostics look here, where one look may cost more than one of many in training
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "WeightSpectrum": {"full": True},
    "CurvatureSpectrum": {"vectors": 40},
    "GameSpectrum": {"picture": False},
}


class Examination(Callback):
    """Looks at a checkpoint with every diagnostic, and writes what they say as one HTML file.

    `gan-modules diagnose` is this callback in a Trainer with SampleMetrics and the diagnostics beside it, which
    validates and then trains on, in memory, for a few iterations (``GameTrainer.diagnose``). Metrics and pictures are
    of the checkpoint's state, and so is each diagnostic's first look, before the first iteration; after the last one
    there is a second look of those that tell something of the trajectory. A measurement that fails is named in the
    report, with the reason, and the others go on.
    """

    def __init__(self) -> None:
        self.record = Record()
        self._root: Path | None = None
        self._past: list[Observation] = []
        self._setting = Setting()
        self._iteration = 0
        self._batch: Any = None
        self._looked = False
        self._diagnostics: list[Diagnostic] = []

    # --- what the Trainer calls -------------------------------------------------------------------------------------

    def begin(self, checkpoint: Mapping[str, Any], path: Path, root: Path) -> None:
        """Take from a checkpoint what it tells by itself: its iteration, its history and its configuration."""
        self._iteration, self._root = int(checkpoint["global_step"]), root
        kept = checkpoint.get("callbacks", {}).get(Diagnosis.__qualname__, {}).get("history", ())
        self._past = [Observation(int(i), dict(values)) for i, values in kept if i < self._iteration]
        curves = of_observations([(o.iteration, o.values) for o in self._past])
        written = of_directory(root, self._iteration)  # at every log interval, where the history is of validations
        versions = checkpoint.get("versions", {})
        self.record = Record(
            title=root.resolve().name,
            facts={"checkpoint": str(path), "iteration": f"{self._iteration:,}"}
            | (
                {"written with": ", ".join(f"{name} {version}" for name, version in versions.items())}
                if versions
                else {}
            ),
            curves=curves | written,
            config=str(checkpoint.get("config", "")),
            command=f"gan-modules fit --config {root / 'config.yaml'}",
        )
        self._batch, self._looked = None, False

    def failed(self, name: str, error: BaseException) -> None:
        """Take note that a part could not be measured."""
        self.record.missing[name] = _reason(error)
        if isinstance(error, FloatingPointError):
            self.record.values["numbers/non_finite"] = 1.0
        rank_zero_info(f"{name}: not measured: {_reason(error)}")

    def finish(self, out: Path) -> None:
        """Make the diagnosis, print it, and write the report."""
        record = self.record
        now = Observation(self._iteration, dict(record.values) | {f"{n}_floor": v for n, v in record.floors.items()})
        record.findings = diagnose(_observations(self._past, now), self._setting)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(render(record), encoding="utf-8")
        console = Console()
        for finding in record.findings:
            console.print(f"[bold red]{finding.failure}[/]")
            for evidence in finding.evidence:
                console.print(f"  {evidence}", markup=False, highlight=False)
            console.print(f"  try {finding.remedy}: {finding.why}", markup=False, highlight=False, soft_wrap=True)
        if not record.findings:
            console.print("[bold green]no failure found[/]")
        if record.missing:
            console.print(f"not measured: {', '.join(record.missing)}", markup=False, highlight=False)
        console.print(f"The report: {out}", soft_wrap=True, markup=False, highlight=False)

    # --- hooks ------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "validate":
            data = type(getattr(trainer, "datamodule", None)).__name__
            device = str(trainer.strategy.root_device)
            self.record.facts = {"model": type(pl_module).__name__, "data": data, **self.record.facts, "device": device}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for metrics in _of(trainer, SampleMetrics):
            self.record.values |= metrics.latest["values"]
            self.record.floors |= metrics.latest["floors"]
            self.record.looks["SampleMetrics"] = metrics.latest["seconds"]
            self.record.left_out = metrics.latest["left_out"]
            self.record.metrics = metrics.evaluated("val")
            self._modes(self.record.metrics)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._looked:
            return
        self._looked = True
        self._setting = setting_of(trainer, pl_module)
        self._samples(trainer, pl_module)
        self.record.diagnostics = self._diagnostics = list(_of(trainer, Diagnostic))
        for diagnostic in self._diagnostics:
            self.record.values |= self._look(diagnostic, trainer, pl_module, batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batch = batch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for diagnostic in self._diagnostics:
            if _follows(diagnostic) and type(diagnostic).__name__ not in self.record.missing:
                found = self._look(diagnostic, trainer, pl_module, self._batch)
                self.record.values = found | self.record.values

    # --- its parts --------------------------------------------------------------------------------------------------

    def _look(self, diagnostic: Diagnostic, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        name = type(diagnostic).__name__
        rank_zero_info(f"{name} looks ...")
        began = time.perf_counter()
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = diagnostic.look_now(trainer, pl_module, batch)
        except (RuntimeError, ValueError, TypeError, NotImplementedError, ArithmeticError) as error:
            self.failed(name, error)
            return {}
        seconds = time.perf_counter() - began
        if not found:
            self._nothing(name, [str(w.message) for w in caught])
            return {}
        self.record.looks[name] = self.record.looks.get(name, 0.0) + seconds
        return {key: value for key, value in found.items() if key.rpartition("/")[2] not in ("seconds", "share")}

    def _nothing(self, name: str, complaints: Sequence[str]) -> None:
        if complaints:
            self.failed(name, RuntimeError("; ".join(complaints)))
        else:
            self.record.left_out = {**self.record.left_out, name: "there is nothing of its kind in this game"}

    def _samples(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not isinstance(pl_module, Sampler):
            return
        try:
            self.record.samples = decoder(trainer)(pl_module.sample(_SHOWN, seed=0)).cpu()
            self.record.reals = _held_out(trainer)
        except (RuntimeError, ValueError) as error:
            self.failed("samples", error)

    def _modes(self, metrics: Sequence[Any]) -> None:
        for metric in metrics:
            if isinstance(metric, ModeCoverage):
                generated, real = metric.fake_counts.double(), metric.real_counts.double()
                width = max(len(generated), len(real), 1 + (metric.num_modes or 0))
                shares = [
                    torch.nn.functional.pad(counts / max(float(counts.sum()), 1.0), (0, width - len(counts)))[
                        1:
                    ].tolist()
                    for counts in (generated, real)
                ]
                self.record.modes = shares[0], shares[1]


def _observations(past: Sequence[Observation], now: Observation) -> list[Observation]:
    """The history that rules judge: what is measured here needs no second observation to be believed.

    Rules ask a failure to hold at several observations. What the run itself never measured counts as if it had been so
    before, and of a run that measured too little the checkpoint is taken for where it stays.
    """
    known = {name for observation in past for name in observation.values}
    new = {name: value for name, value in now.values.items() if name not in known}
    earlier = [Observation(o.iteration, new | dict(o.values)) for o in past]
    return [*earlier, *[now] * max(1, _ENOUGH - len(past))]


def for_examination(given: Iterable[Callback], datamodule: Any = None) -> list[Callback]:
    """What `gan-modules diagnose` runs a checkpoint with, of the callbacks that the run was trained with.

    Kept are its SampleMetrics and its diagnostics, which look more thoroughly here than while training; what is missing
    of these is added, where it applies; what writes, stops or prints is left out.
    """
    kept: list[Callback] = [c for c in given if isinstance(c, SampleMetrics | Diagnostic)]
    if not any(isinstance(c, SampleMetrics) for c in kept) and (metrics := _metrics(datamodule)) is not None:
        kept.insert(0, metrics)
    there = {type(c).__name__ for c in kept}
    for name, cls in _diagnostics().items():
        if name not in there:
            kept.append(cls())
    for callback in kept:
        if isinstance(callback, SampleMetrics):
            callback.silent = True
        if isinstance(callback, Diagnostic):
            callback.every_n_steps, callback.budget = None, None
            for name, value in _SETTINGS.get(type(callback).__name__, {}).items():
                setattr(callback, name, value)
    return [*kept, Examination()]


def _diagnostics() -> dict[str, type[Any]]:
    """The diagnostics that the package exports."""
    exported = {name: getattr(callbacks, name) for name in callbacks.__all__}
    return {
        name: cls
        for name, cls in exported.items()
        if isinstance(cls, type) and issubclass(cls, Diagnostic) and not inspect.isabstract(cls)
    }


def _metrics(datamodule: Any) -> SampleMetrics | None:
    """Metrics of data that a run has had none of: of the values themselves, or of a projection of many."""
    shape = getattr(datamodule, "shape", None)
    if shape is None or not hasattr(datamodule, "reals") or math.prod(shape) < 2:
        return None
    return SampleMetrics(Pixels() if math.prod(shape) <= _FEW else RandomProjection())


def _of(trainer: Trainer, kind: type[Any]) -> Iterator[Any]:
    return (c for c in trainer.callbacks if isinstance(c, kind))  # type: ignore[attr-defined]


def _follows(diagnostic: Diagnostic) -> bool:
    """Whether it takes note of iterations, so that it has more to say after some."""
    return type(diagnostic).on_train_batch_end is not Diagnostic.on_train_batch_end


def _held_out(trainer: Trainer) -> Tensor | None:
    if not has_reals(trainer):
        return None
    batches = trainer.datamodule.reals("val", space="data", n=_SHOWN)  # type: ignore[attr-defined]
    found = [samples.cpu() for samples, _ in batches]
    return torch.cat(found)[:_SHOWN] if found else None


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
