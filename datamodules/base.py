"""The data module every GAN of the collection trains and is evaluated on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from datamodules.augmentation import DataAugmentation, augmented, numbers_of
from datamodules.checks import Promise, is_batch, kind_of, require_positive
from datamodules.evaluation import EvaluationLoader
from datamodules.seeding import keyed_generator
from datamodules.source import Batch, FromWorkers, InMemory, Source, in_data_space, shard
from datamodules.stream import TrainingStream
from datamodules.truth import Truth
from datamodules.whitening import Identity, Whitening

Split = Literal["train", "val", "test"]
_STAGE_SPLITS: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}


class GANDataModule(LightningDataModule, ABC):
    """Samples in two spaces: data space, and the whitened training space in which batches are handed out.

    A data set is a `shape`, a `num_classes`, a `load`, and where it has them a `value_range`, a `truth` and
    `augmentations`. The constructor reads no data. Samples are kept in data space, images in uint8, and encoded batch
    by batch, so whatever whitening a checkpoint restores, Lightning does so after `setup`, applies to every batch that
    follows. The whitening is fitted on the training split, augmented as in training, in `setup("fit")`, each process
    reading its share; at other stages only when it is first needed and no checkpoint gave it, so evaluating or sampling
    from a checkpoint never touches training data.

    What `load` returns as tensors is kept on the device that trains, where batches are indexed without worker
    processes; what it returns as a `torch.utils.data.Dataset` is read by workers, batch by batch, ahead of time.

    Rank, number of processes, and the `draws` a training step takes (the LightningModule's attribute of that name, else
    1) come from the attached trainer; without one there is one process and one draw.

    Args:
        batch_size: rows of one draw, summed over processes.
        whitening: None leaves the data as it is; a fitted one is used without fitting it again.
        seed: of the order of training samples; 0 if None, and under the command line `--seed_everything`.
        epoch_iterations: training steps that count as an epoch; about one pass over the data where None.
        eval_batch_size: rows of an evaluation batch on one process.
        on_device: whether tensors are kept on the device that trains; otherwise in main memory, and batches are copied
            as they are stored, then augmented and encoded on the device.
        num_workers: worker processes that read a Dataset; tensors need none.

    Raises:
        ValueError: a size that is not positive.
    """

    augmentations: Sequence[DataAugmentation] = ()  # of training samples
    value_range: tuple[float, float] | None = None  # least and greatest value in data space, where there is a bound

    def __init__(
        self,
        *,
        batch_size: int,
        whitening: Whitening | None = None,
        seed: int | None = None,
        epoch_iterations: int | None = None,
        eval_batch_size: int = 256,
        on_device: bool = True,
        num_workers: int = 2,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["whitening", "truth", "arrays"], logger=False)
        # Under the LightningCLI arguments are recorded as class paths, which a checkpoint can hold without pickling.
        if "_instantiator" in self.hparams:
            self.save_hyperparameters(logger=False)
        require_positive(batch_size=batch_size, eval_batch_size=eval_batch_size, epoch_iterations=epoch_iterations)
        if num_workers < 0:
            raise ValueError(f"num_workers must be at least 0, got {num_workers}")
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.on_device, self.num_workers = on_device, num_workers
        self.seed, self.epoch_iterations = 0 if seed is None else seed, epoch_iterations
        self.whitening: Whitening = Identity() if whitening is None else whitening
        self._splits: dict[Split, Source] = {}
        self._stream: TrainingStream | None = None
        self._position: dict[str, int] | None = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, known without reading data; (C, H, W) for images."""

    @property
    @abstractmethod
    def num_classes(self) -> int | None:
        """Number of classes, or None for a data set without labels."""

    @abstractmethod
    def load(self, split: Split) -> Batch | Dataset[Any]:
        """Return samples, (N, *shape), and labels, (N,) int64, or None; or a Dataset of what does not fit; called once.

        Samples are floating-point in data space, or uint8 images that stand for x / 255. Items of a map-style Dataset
        are samples, or (sample, label) where there are classes.
        """

    @property
    def training_shape(self) -> tuple[int, ...]:
        """Shape of one sample in training space, which a generator has to make: (rank,) after PCAWhitening(rank)."""
        return self.whitening.output_shape(self.shape)

    @property
    def truth(self) -> Truth | None:
        """Exact knowledge of the data's modes, where there is any."""
        return None

    def setup(self, stage: str) -> None:
        """Load and check the splits that the stage needs; for "fit", begin a run, fit the whitening and report on it.

        Raises:
            ValueError: samples or labels are empty, not finite, or not of the promised shape, type or range; or the
                whitening refuses them.
        """
        if not self.whitening.fitted:
            self.whitening.check_shape(self.shape)
        for split in _STAGE_SPLITS.get(stage, ()):
            self._load(split)
        if stage == "fit":
            self._stream = self._position = None
            self._fit_whitening(sharded=True)
            # after the fit, which all processes do together, only one takes the time of the report
            if self._process()["rank"] == 0 and (report := self.whitening.report()).dimension is not None:
                rank_zero_info(f"{type(self.whitening).__name__}, fitted on the training split:\n{report}")

    def __str__(self) -> str:
        """The splits that are loaded; Lightning's own would load all of them, and begin the training stream anew."""
        sizes = ", ".join(f"{split} {len(source):,}" for split, source in self._splits.items())
        return f"{type(self).__name__}({sizes or 'nothing loaded'})"

    def encode(self, x: Tensor) -> Tensor:
        """Data space to training space, (N, *shape) to (N, *training_shape)."""
        return self._fit_whitening().forward(x)

    def decode(self, x: Tensor) -> Tensor:
        """Training space to data space, (N, *training_shape) to (N, *shape): undoes `encode`, clamps to value_range."""
        x = self._fit_whitening().inverse(x)
        return x if self.value_range is None else x.clamp(*self.value_range)

    def train_dataloader(self) -> TrainingStream:
        """A stream from iteration 0 on, or from a restored position, or a reloading trainer's present one.

        Raises:
            ValueError: the number of processes does not divide batch_size, the restored position is of another order,
                or the trainer overfits batches.
        """
        if getattr(self.trainer, "overfit_batches", False):
            raise ValueError("overfit_batches would not repeat batches here; use a data set of the size to overfit")
        stream = TrainingStream(
            self._source("train"),
            batch_size=self.batch_size,
            draws=getattr(getattr(self.trainer, "lightning_module", None), "draws", 1),
            seed=self.seed,
            epoch_iterations=self.epoch_iterations,
            augmentations=self.augmentations,
            transform=self._transform(),
            **self._process(),
        )
        if self._stream is not None and getattr(self.trainer, "reload_dataloaders_every_n_epochs", False):
            stream.load_state_dict(self._stream.state_dict())
        elif self._position is not None:
            stream.load_state_dict(self._position)
        self._stream = stream
        return stream

    def val_dataloader(self) -> EvaluationLoader:
        """The validation split, encoded, in a fixed order, each sample on exactly one process."""
        return self._evaluation_loader("val", self._transform())

    def test_dataloader(self) -> EvaluationLoader:
        """The test split, likewise."""
        return self._evaluation_loader("test", self._transform())

    def reals(
        self, split: Split, *, space: Literal["training", "data"] = "training", n: int | None = None
    ) -> Iterator[Batch]:
        """Batches (real, labels) of a split, in the order of evaluation, at any time: a split not loaded yet is loaded.

        In data space they are what was loaded, without the rounding, or the loss of directions, of a whitening. With
        ``n`` there are at most so many, over all processes, spread evenly over the split.
        """
        if space not in ("training", "data"):
            raise ValueError(f"space={space!r} must be 'training' or 'data'")
        return iter(self._evaluation_loader(split, self._transform() if space == "training" else None, n))

    def state_dict(self) -> dict[str, Any]:
        """The whitening's tensors by name, or None where it is not fitted; the training stream's position, or None.

        Lightning saves the stream's position too, but ignores it when resuming at the end of an epoch.
        """
        return {
            "whitening": dict(self.whitening.state_dict()) if self.whitening.fitted else None,
            "stream": self._position if self._stream is None else self._stream.state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the whitening, and the position at which the next training stream starts.

        Lightning calls it after `setup`, which begins a run at iteration 0; so restore a position after it, too.

        Raises:
            ValueError: not the state of a data module, or of one with another kind of whitening.
        """
        if set(state_dict) != {"whitening", "stream"}:
            raise ValueError(f"not a data module's state: it holds {sorted(state_dict)}, not ['stream', 'whitening']")
        tensors = state_dict["whitening"]
        if tensors is not None:
            if set(tensors) != set(self.whitening.statistics):
                raise ValueError(
                    f"the checkpoint's whitening holds {sorted(tensors)}, {type(self.whitening).__name__} needs "
                    f"{sorted(self.whitening.statistics)}; pass the whitening that the checkpoint was trained with"
                )
            self.whitening.load_state_dict(tensors)
        self._stream, self._position = None, state_dict["stream"]

    def _evaluation_loader(
        self, split: Split, transform: Callable[[Tensor], Tensor] | None, n: int | None = None
    ) -> EvaluationLoader:
        return EvaluationLoader(
            self._source(split), batch_size=self.eval_batch_size, transform=transform, n=n, **self._process()
        )

    def _process(self) -> dict[str, int]:
        return {
            "rank": getattr(self.trainer, "global_rank", 0),
            "world_size": getattr(self.trainer, "world_size", 1),
        }

    def _transform(self) -> Callable[[Tensor], Tensor] | None:
        return None if isinstance(self.whitening, Identity) else self.encode

    def _fit_whitening(self, sharded: bool = False) -> Whitening:
        """The whitening, fitted; `sharded` where all processes come here together, each reading its share."""
        if not self.whitening.fitted:
            self.whitening.fit(self._training_samples(**self._process() if sharded else {}), sharded=sharded)
        return self.whitening

    def _training_samples(self, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """Batches of one pass over the process's share of the training split, augmented."""
        source = self._source("train")
        rows = shard(len(source), 1024, rank, world_size)
        uniform = torch.rand(
            len(source), numbers_of(self.augmentations), generator=keyed_generator("augmentation", "one pass")
        )
        for index, (real, _) in zip(rows, source.read(rows), strict=True):
            yield in_data_space(augmented(real, self.augmentations, uniform[index]))

    def _source(self, split: Split) -> Source:
        """The split's rows, where this run wants them."""
        device = getattr(getattr(self.trainer, "strategy", None), "root_device", torch.device("cpu"))
        self._splits[split] = self._load(split).to(device)
        return self._splits[split]

    def _load(self, split: Split) -> Source:
        if split not in self._splits:
            # Validation runs in inference mode; what is loaded there must still serve training.
            with torch.inference_mode(False), torch.no_grad():
                loaded = self.load(split)
            promise = Promise(self.shape, self.num_classes, self.value_range)
            if isinstance(loaded, Dataset) and not isinstance(loaded, IterableDataset):
                self._splits[split] = FromWorkers(loaded, promise, self.num_workers)
            elif not is_batch(loaded):
                raise ValueError(
                    f"load({split!r}) returned {kind_of(loaded)}, expected (samples, labels), both Tensors, or labels "
                    "None; or a map-style Dataset, which reads a row by its number"
                )
            else:
                promise.check(split, *loaded)
                self._splits[split] = InMemory(*loaded, resident=self.on_device)
            if len(self._splits[split]) == 0:
                raise ValueError(f"the {split} split has 0 samples; load() must return at least one")
        return self._splits[split]
