"""Metrics of generated samples at every validation, from one sampling pass and one feature pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.data_space import decoder, generated, training_reals
from callbacks.metrics import Classifier, DigitsClassifier, Extractor, FrechetDistance, ModeCoverage


@dataclass
class _Reference:
    """What is known of one held-out split: its moments and its modes; complete once an evaluation went through it."""

    fid: FrechetDistance
    modes: ModeCoverage | None
    assign: Callable[[Tensor], Tensor] | None
    complete: bool = False
    floor: float | None = None

    def distance(self, features: Iterable[Tensor]) -> float:
        """Frechet distance of the features of all processes to the split's."""
        self.fid.reset()  # keeps the reals
        for batch in features:
            self.fid.update(batch, real=False)
        return float(self.fid.compute())


class SampleMetrics(Callback):
    """Logs how samples compare with held-out data, in the features of an extractor, in data space.

    - ``fid``: Frechet distance of ``n_samples`` samples to the held-out split.
    - ``fid_floor``: that of as many training reals to the same split, which is what a perfect generator would score.
    - ``fid_untrained``: that of the generator before its first iteration.
    - ``modes``, ``mode_kl``, ``mode_share_min``, ``high_quality``: see ModeCoverage; by the datamodule's ``truth``
      where it knows its modes, else by the extractor where it is a classifier.

    The held-out split is what validation (or testing) iterates over, the same rows each time. Every process generates
    its share, and values are equal on one process and on several.

    Args:
        extractor: maps data-space samples to features; the embedded digits network if None.
        n_samples: samples generated for each evaluation.
        sample_seed: names the sequence of samples; the same at every validation, so that changes are the model's.
    """

    def __init__(self, extractor: Extractor | None = None, n_samples: int = 1000, sample_seed: int = 0) -> None:
        if n_samples < 2:
            raise ValueError(f"SampleMetrics(n_samples={n_samples}): a covariance needs at least 2 samples.")
        self.extractor = DigitsClassifier() if extractor is None else extractor
        self.n_samples = n_samples
        self.sample_seed = sample_seed
        self._references: dict[str, _Reference] = {}
        self._untrained_features: list[Tensor] = []
        self._fid_untrained: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the untrained generator's features; their distance is known once a validation brought the reals."""
        if trainer.global_step == 0:
            self.extractor.to(pl_module.device)
            self._untrained_features = [self.extractor(samples) for samples in self._samples(trainer, pl_module)]

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._see(trainer, pl_module, "val", batch)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        self._see(trainer, pl_module, "test", batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            self._references.clear()  # it saw a part of the split
            return
        self._log(trainer, pl_module, "val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        values = self._evaluate(trainer, pl_module, self._reference(trainer, pl_module, split))
        pl_module.log("fid", values.pop("fid"), prog_bar=True)
        pl_module.log_dict(values)

    def _reference(self, trainer: Trainer, pl_module: LightningModule, split: str) -> _Reference:
        if split not in self._references:
            self.extractor.to(pl_module.device)
            fid = FrechetDistance(self.extractor.num_features, reset_real_features=False).to(pl_module.device)
            truth = getattr(getattr(trainer, "datamodule", None), "truth", None)
            modes, assign = None, None
            if truth is not None:
                modes, assign = ModeCoverage(truth.num_modes, reset_real_features=False), truth.assign
            elif isinstance(self.extractor, Classifier):
                modes = ModeCoverage(self.extractor.num_classes, reset_real_features=False)
                assign = self.extractor.classify
            self._references[split] = _Reference(fid, modes and modes.to(pl_module.device), assign)
        return self._references[split]

    def _see(self, trainer: Trainer, pl_module: LightningModule, split: str, batch: Any) -> None:
        reference = self._reference(trainer, pl_module, split)
        if reference.complete:
            return
        samples = decoder(trainer)(batch if isinstance(batch, Tensor) else batch[0])
        reference.fid.update(self.extractor(samples), real=True)
        if reference.modes is not None and reference.assign is not None:
            reference.modes.update(reference.assign(samples), real=True)

    def _samples(self, trainer: Trainer, pl_module: LightningModule) -> Iterable[Tensor]:
        return generated(trainer, pl_module, self.n_samples, self.sample_seed)

    def _evaluate(self, trainer: Trainer, pl_module: LightningModule, reference: _Reference) -> dict[str, float]:
        reference.complete = True
        if reference.floor is None and hasattr(getattr(trainer, "datamodule", None), "reals"):
            reals = training_reals(trainer, self.n_samples)
            reference.floor = reference.distance(self.extractor(real.to(pl_module.device)) for real in reals)
        if self._untrained_features:
            self._fid_untrained = reference.distance(self._untrained_features)
            self._untrained_features = []
        samples = list(self._samples(trainer, pl_module))
        values = {"fid": reference.distance(map(self.extractor, samples))}
        if reference.modes is not None and reference.assign is not None:
            reference.modes.reset()
            for batch in samples:
                reference.modes.update(reference.assign(batch), real=False)
            values |= {name: float(value) for name, value in reference.modes.compute().items()}
        constants = {"fid_floor": reference.floor}
        if reference is self._references.get("val"):
            constants["fid_untrained"] = self._fid_untrained  # it was measured against that split
        return values | {name: value for name, value in constants.items() if value is not None}

    def state_dict(self) -> dict[str, Any]:
        return {"fid_untrained": self._fid_untrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._fid_untrained = state_dict["fid_untrained"]
