"""Metrics of generated samples at every validation, from one sampling pass and one feature pass."""

from __future__ import annotations

import inspect
import json
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from rich.console import Console
from rich.table import Table
from torch import Tensor

import callbacks.metrics
from callbacks.data_space import Numbered, decoder, generated, has_reals, reals, sampler
from callbacks.evaluation import Evaluation
from callbacks.evaluation_protocol import DataDigest, EvaluationProtocol
from callbacks.feature_cache import FeatureCache, default_directory
from callbacks.metrics import Classifier, DigitsClassifier, Extractor
from callbacks.metrics.base import SampleMetric
from callbacks.metrics.known import Known
from callbacks.views import Views

#: logged while training where nothing else is asked for: quality, diversity, what is covered, what lies between,
#: copies, and images' power spectra
DEFAULT_METRICS = (
    "FrechetDistance",
    "PrecisionRecallDensityCoverage",
    "VendiScore",
    "ModeCoverage",
    "ManifoldCollapse",
    "Authenticity",
    "PowerSpectrum",
)
_PROBE = 8  # rows by which kept features are tried
_WORTH_KEEPING = 1.0  # seconds that the extraction of a split took, from which on its features are kept on disk


class SampleMetrics(Callback):
    """Logs how samples compare with held-out data, in the features of an extractor, in data space.

    At every validation, ``n_samples`` samples are generated and shown to all ``metrics`` at once; so the cadence, in
    iterations, is the Trainer's ``val_check_interval`` (with ``check_val_every_n_epoch: null``) or the length of an
    epoch, and ``ModelCheckpoint(monitor="fid")`` and ``EarlyStopping`` see every value. ``ValidationBudget`` bounds the
    time it takes. Logged are each metric's names (see there), and beside each value:

    - ``<name>_floor``: what real samples score in place of generated ones, ``n_samples`` rows spread over the training
      split against the held-out split, or, where a metric compares with the training split, the held-out one.
    - ``fid_untrained``: Frechet distance of the generator before its first iteration, under the same protocol.
    - ``raw/<name>``: the value of the generator itself, where ``raw`` asks for it beside its running average's.

    `gan-modules validate` and `test` compute every metric of ``callbacks.metrics`` that applies to the data, print
    them in a table, and write ``evaluation/<command>.json``; while training, each evaluation is a line of
    ``evaluation/fit.jsonl``. Both hold the protocol of the values: extractor, split, data, numbers, what metrics were
    given other than by default, and a hash of all of it. Values of one hash can be compared; of two, not.

    The held-out split is what validation (or testing) iterates over. Where the datamodule gives its reals
    (``reals(split, space="data")``), they are read from there, and features of a slow extractor are kept on disk; a
    foreign loader's batches (the first one's of several) are seen as validation goes over them, and there is no floor.
    Every process generates its share, and values are equal on one process and on several.

    Args:
        extractor: maps data-space samples to features; the embedded digits network if None.
        n_samples: samples generated for each evaluation.
        sample_seed: names the sequence of samples; the same at every validation, so that changes are the model's.
        metrics: that are logged while training, each of which must apply to the data; if None, FID, precision, recall,
            density, coverage, the Vendi score, the modes covered, the share between modes, that of copies, and the
            distance of power spectra, as far as they apply. Copies take one pass over the training split, and its
            features are kept.
        raw: whether the generator itself is evaluated beside its running average.
        cache_dir: where features of reals are kept that took longer than a second; ``$GAN_MODULES_CACHE`` or the user's
            cache directory if None; "" keeps none.

    Raises:
        ValueError: fewer than 2 samples; a metric is given twice, says nothing of such data, or has too few samples.
        TypeError: the module has no ``sample``.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        n_samples: int = 1000,
        sample_seed: int = 0,
        metrics: list[SampleMetric] | None = None,
        raw: bool = False,
        cache_dir: str | None = None,
    ) -> None:
        if n_samples < 2:
            raise ValueError(f"SampleMetrics(n_samples={n_samples}): a covariance needs at least 2 samples.")
        kinds = [type(metric).__name__ for metric in metrics or ()]
        if metrics is not None and (not kinds or len(set(kinds)) < len(kinds)):
            raise ValueError(f"SampleMetrics(metrics={kinds}): give at least one metric, and each at most once.")
        self.extractor = DigitsClassifier() if extractor is None else extractor
        self.n_samples = n_samples
        self.sample_seed = sample_seed
        self.metrics = metrics
        self.raw = raw
        self.cache = FeatureCache(default_directory() if cache_dir is None else Path(cache_dir) if cache_dir else None)
        #: whether evaluations are neither written nor printed
        self.silent = False
        #: the last evaluation: values, floors and protocol, as written to disk
        self.latest: dict[str, Any] = {}
        self._splits: dict[str, _Split] = {}
        self._untrained: list[Views] | None = None  # an empty share is still one: values need every process
        self._fid_untrained: float | None = None
        self._untrained_protocol = ""  # the hash under which it was measured
        self._loaded_iteration: int | None = None  # of a checkpoint, which validate and test do not tell the Trainer

    # --- hooks ------------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        module = sampler(pl_module)
        if self.raw and "ema" not in inspect.signature(module.sample).parameters:
            raise ValueError(
                f"SampleMetrics(raw=True) calls sample(..., ema=False), which {type(pl_module).__name__}.sample does "
                "not take: leave raw out."
            )
        self._splits.clear()
        self._loaded_iteration = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._loaded_iteration = checkpoint["global_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the untrained generator's features; their distance is known once a validation brought the reals."""
        self.extractor.to(pl_module.device)
        if trainer.global_step == 0 and trainer.enable_validation:
            self._untrained = list(
                self._views(trainer, generated(trainer, pl_module, self.n_samples, self.sample_seed))
            )
            for views in self._untrained:
                _ = views.features

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx == 0:
            self._see(trainer, pl_module, "val", batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx == 0:
            self._see(trainer, pl_module, "test", batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            self._splits.clear()  # it saw a part of the split
            return
        self._evaluate(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluate(trainer, pl_module, "test")

    def state_dict(self) -> dict[str, Any]:
        return {"fid_untrained": self._fid_untrained, "untrained_protocol": self._untrained_protocol}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._fid_untrained = state_dict["fid_untrained"]
        self._untrained_protocol = state_dict["untrained_protocol"]

    def evaluated(self, name: str) -> Sequence[SampleMetric]:
        """The metrics that evaluated samples against the split ``name``, "val" or "test", with what they have seen."""
        return self._splits[name].evaluation.metrics if name in self._splits else ()

    # --- one evaluation ---------------------------------------------------------------------------------------------

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, name: str) -> None:
        started = time.monotonic()
        split = self._split(trainer, pl_module, name)
        first = not split.complete
        if first:
            if has_reals(trainer):
                self._read(trainer, split)
            split.protocol = self._protocol(trainer, split)
            split.complete = True
            for logger in trainer.loggers:
                logger.log_hyperparams({"evaluation": {name: asdict(split.protocol) | {"hash": split.protocol.hash}}})
        evaluation = split.evaluation
        assert split.protocol is not None
        if self._untrained is not None:
            self._fid_untrained = evaluation.values(self._untrained).get("fid")
            self._untrained_protocol = split.protocol.hash
            self._untrained = None
        untrained = self._fid_untrained if self._untrained_protocol == split.protocol.hash else None
        samples = generated(trainer, pl_module, self.n_samples, self.sample_seed)
        values = evaluation.values(self._views(trainer, samples))
        left_out = evaluation.left_out
        if left_out and first and trainer.state.fn == "fit":
            rank_zero_info("SampleMetrics leaves out what does not apply: " + "; ".join(left_out.values()))
        if self.raw:
            samples = generated(trainer, pl_module, self.n_samples, self.sample_seed, averaged=False)
            raw = evaluation.values(self._views(trainer, samples))
            values |= {f"raw/{metric}": value for metric, value in raw.items()}
        constants = {f"{metric}_floor": value for metric, value in split.floors.items()}
        if untrained is not None:
            constants["fid_untrained"] = untrained
        for metric, value in (values | constants).items():
            pl_module.log(metric, value, prog_bar=metric == "fid")
        fits = trainer.state.fn == "fit" or self._loaded_iteration is None
        self.latest = {
            "iteration": trainer.global_step if fits else self._loaded_iteration,
            "values": values,
            "floors": split.floors,
            "fid_untrained": untrained,
            "left_out": left_out,
            "protocol": asdict(split.protocol) | {"hash": split.protocol.hash},
            "seconds": time.monotonic() - started,
        }
        self._tell(trainer, split)

    def _tell(self, trainer: Trainer, split: _Split) -> None:
        """Write the evaluation into the run's directory; a table of it where it is all that the command is for."""
        if self.silent or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir, "evaluation")
        folder.mkdir(parents=True, exist_ok=True)
        if trainer.state.fn == "fit":
            with (folder / "fit.jsonl").open("a") as file:
                file.write(json.dumps(_strict(self.latest)) + "\n")
            return
        path = folder / f"{trainer.state.fn.value}.json"  # type: ignore[union-attr]
        record = {"checkpoint": str(trainer.ckpt_path or "")} | self.latest
        path.write_text(json.dumps(_strict(record), indent=2) + "\n")
        console = Console()
        console.print(_table(self.latest, str(split.protocol)))
        console.print(f"Written to {path}", soft_wrap=True, highlight=False)

    # --- the reals --------------------------------------------------------------------------------------------------

    def _split(self, trainer: Trainer, pl_module: LightningModule, name: str) -> _Split:
        if name not in self._splits:
            self.extractor.to(pl_module.device)
            datamodule = getattr(trainer, "datamodule", None)
            known = Known(
                truth=getattr(datamodule, "truth", None),
                extractor_classes=self.extractor.num_classes if isinstance(self.extractor, Classifier) else None,
                classes_are_modes=getattr(self.extractor, "classes_are_modes", False),
                num_classes=getattr(pl_module, "num_classes", None),
                shape=tuple(getattr(datamodule, "shape", ())),
            )
            # what is left to the callback to choose is chosen by what applies
            templates, strict = self.metrics, True
            if templates is None or trainer.state.fn != "fit":
                names = DEFAULT_METRICS if trainer.state.fn == "fit" else every_metric()
                chosen = {name: getattr(callbacks.metrics, name)() for name in names}
                templates = list((chosen | {type(metric).__name__: metric for metric in templates or ()}).values())
                strict = False
            self._splits[name] = _Split(name, Evaluation(templates, known, pl_module.device, strict))
        return self._splits[name]

    def _see(self, trainer: Trainer, pl_module: LightningModule, name: str, batch: Any) -> None:
        """A batch of a foreign loader, which is seen only while validation goes over it."""
        split = self._split(trainer, pl_module, name)
        if split.complete or has_reals(trainer):
            return
        if not isinstance(batch, Tensor) and not (isinstance(batch, (tuple, list)) and isinstance(batch[0], Tensor)):
            raise TypeError(
                f"SampleMetrics takes reals from the {name} loader, whose batches are of type {type(batch).__name__}: "
                "let it give a tensor (N, ...), or a tuple of that and more, or take a datamodule with reals()."
            )
        samples, labels = (batch, None) if isinstance(batch, Tensor) else (batch[0], (*batch, None)[1])
        index = (split.data.rows + torch.arange(len(samples))) * trainer.world_size + trainer.global_rank
        split.data.see(samples, index)
        split.evaluation.see_reals(self._views(trainer, [(decoder(trainer)(samples), labels, index)]), "held_out")

    def _read(self, trainer: Trainer, split: _Split) -> None:
        """Show the metrics the reals that they ask for, and find their floors."""
        evaluation = split.evaluation
        split.data = self._digest(trainer, split.name)
        evaluation.see_reals(self._reals(trainer, split.name, split.data), "held_out")
        if evaluation.asks_for("training"):
            training = self._reals(trainer, "train", self._digest(trainer, "train"))
            evaluation.see_reals(training, "training")
        split.floors = evaluation.floors(
            training=self._views(trainer, reals(trainer, "train", self.n_samples)),
            held_out=self._reals(trainer, split.name, split.data),
        )

    def _digest(self, trainer: Trainer, name: str) -> DataDigest:
        data = DataDigest()
        for samples, _, index in reals(trainer, name):
            data.see(samples, index)
        return data

    def _reals(self, trainer: Trainer, name: str, data: DataDigest) -> Iterator[Views]:
        """Views of this process's share of a split, with features from the cache where they are there."""
        share = f"{trainer.global_rank}of{trainer.world_size}"
        key = f"{self.extractor.name}-{name}-{self.extractor.hash}-{data}-{share}"
        features = self.cache.load(key, data.rows)
        fresh: list[Tensor] = []
        spent, row = 0.0, 0
        for batch in reals(trainer, name):
            known = None if features is None else features[row : row + len(batch[0])]
            (views,) = self._views(trainer, [batch], known)
            if known is not None and row == 0 and not self._gives(views.samples[:_PROBE], known[:_PROBE]):
                features = None
                (views,) = self._views(trainer, [batch])
            started = time.monotonic()
            fresh.append(views.features)
            spent += time.monotonic() - started
            row += len(views)
            yield views
        if features is None and fresh and spent > _WORTH_KEEPING:
            self.cache.save(key, torch.cat(fresh))

    def _gives(self, samples: Tensor, kept: Tensor) -> bool:
        """Whether the extractor still gives the features that were kept: code of its own may change under one hash."""
        now = self.extractor(samples).cpu()
        same = now.shape == kept.shape and torch.allclose(now, kept, rtol=1e-3, atol=1e-3 * float(kept.abs().max()))
        if not same:
            warnings.warn(
                f"The kept features of {self.extractor.name} are not those that it gives now, though its weights are "
                "the same: they are computed again. Give an extractor whose code changes another name.",
                stacklevel=2,
            )
        return same

    def _protocol(self, trainer: Trainer, split: _Split) -> EvaluationProtocol:
        share = torch.tensor([split.data.rows, split.data.value], device=trainer.strategy.root_device)
        whole = DataDigest(*trainer.strategy.reduce(share, reduce_op="sum").tolist())
        return EvaluationProtocol(
            extractor=self.extractor.name,
            extractor_hash=self.extractor.hash,
            resize=self.extractor.resize,
            value_range=self.extractor.value_range,
            split=split.name,
            data=str(whole),
            n_real=whole.rows,
            n_generated=self.n_samples,
            metrics=split.evaluation.settings,
        )

    def _views(self, trainer: Trainer, batches: Iterable[Numbered], features: Tensor | None = None) -> Iterator[Views]:
        truth = getattr(getattr(trainer, "datamodule", None), "truth", None)
        device = trainer.strategy.root_device
        for samples, labels, index in batches:
            yield Views(
                samples.to(device),
                self.extractor,
                index=index,
                labels=labels,
                assign=None if truth is None else truth.assign,
                features=None if features is None else features.to(device),
            )


class _Split:
    """The metrics that have seen a held-out split, and what is known of it."""

    def __init__(self, name: str, evaluation: Evaluation) -> None:
        self.name = name
        self.evaluation = evaluation
        self.floors: dict[str, float] = {}
        self.protocol: EvaluationProtocol | None = None
        self.complete = False
        self.data = DataDigest()  # of this process's share


def every_metric() -> Sequence[str]:
    """The names of all metrics that the package exports."""
    exported = {name: getattr(callbacks.metrics, name) for name in callbacks.metrics.__all__}
    return [name for name, cls in exported.items() if isinstance(cls, type) and issubclass(cls, SampleMetric)]


def _strict(record: Any) -> Any:
    """The record with numbers that JSON does not have, such as an infinite divergence, as text: "inf"."""
    if isinstance(record, dict):
        return {name: _strict(value) for name, value in record.items()}
    return str(record) if isinstance(record, float) and not math.isfinite(record) else record


def _table(latest: dict[str, Any], protocol: str) -> Table:
    table = Table(title=f"iteration {latest['iteration']}", caption=protocol)
    table.add_column("metric", no_wrap=True)
    table.add_column("generated", justify="right")
    table.add_column("real", justify="right")
    for name, value in latest["values"].items():
        floor = latest["floors"].get(name.removeprefix("raw/"))
        table.add_row(name, f"{value:.4g}", "" if floor is None else f"{floor:.4g}")
    for name, reason in latest["left_out"].items():
        table.add_row(f"[dim]{name}[/]", f"[dim]left out: {reason}[/]")
    return table
