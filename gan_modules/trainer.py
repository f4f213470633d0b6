"""Lightning's Trainer with two more things to do: sample, and diagnose."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.model_helpers import is_overridden
from rich.progress import track
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from gan_modules.base import GameModule
from gan_modules.checkpoint_config import check_fits, load_checkpoint
from gan_modules.protocols import SAMPLE_BLOCK, Examiner, Sampler


class GameTrainer(Trainer):
    """Lightning's Trainer, ``sample`` and ``diagnose``."""

    def sample(
        self,
        model: GameModule,
        datamodule: LightningDataModule | None = None,
        *,
        ckpt_path: str,
        n: int = 64,
        seed: int = 0,
        start: int = 0,
        label: int | None = None,
        out: str = "samples",
    ) -> None:
        """Generate samples of a trained model, in data space, from the checkpoint alone.

        Sample i depends on the checkpoint, the seed and i: a later call with ``--start`` continues the sequence.

        Args:
            model: what was trained.
            datamodule: decodes to data space, with the state that the checkpoint holds; reads no data.
            ckpt_path: the checkpoint, or the run's directory for its last one.
            n: how many samples.
            seed: names the sequence of samples.
            start: index of the first sample.
            label: the class of every sample of a conditional GAN; sample i is of class i modulo num_classes if None.
            out: a file ending in .npz (arrays "samples", float32 in data space, and of a conditional GAN "labels"), or
                a directory for PNG images.
        """
        if not isinstance(model, Sampler):
            raise TypeError(f"{type(model).__name__} has no samples to give.")
        if n < 1:
            raise ValueError(f"--n {n}: at least 1 sample.")
        classes = getattr(model, "num_classes", None)
        if label is not None and (classes is None or not 0 <= label < classes):
            there = "is unconditional" if classes is None else f"has classes 0 to {classes - 1}"
            raise ValueError(f"--label {label}: the {type(model).__name__} {there}.")
        checkpoint = load_checkpoint(ckpt_path)
        model.load_state_dict(checkpoint["state_dict"])
        model.to(self.strategy.root_device)
        name = type(datamodule).__qualname__
        if datamodule is not None and name in checkpoint:
            datamodule.load_state_dict(checkpoint[name])
        decode = getattr(datamodule, "decode", lambda x: x)
        samples: list[Tensor] = []
        for i in track(range(start, start + n, SAMPLE_BLOCK), description="sampling"):
            size = min(SAMPLE_BLOCK, start + n - i)
            given = {} if label is None else {"labels": torch.full((size,), label)}
            samples.extend(decode(model.sample(size, seed=seed, start=i, **given)).cpu())
        labels = None
        if classes is not None:
            labels = torch.arange(start, start + n) % classes if label is None else torch.full((n,), label)
        write_samples(samples, Path(out), start, labels)
        print(f"{n} samples in {out}")

    def diagnose(
        self,
        model: GameModule,
        datamodule: LightningDataModule | None = None,
        *,
        ckpt_path: str,
        steps: int = 200,
        out: str | None = None,
    ) -> None:
        """Say what is wrong with a run, why, and what to try: from a checkpoint alone, on the console and as a report.

        Every metric that applies is computed, every diagnostic looks at the checkpoint's state, and a few iterations
        are trained in memory, so that what shows in the trajectory (cycles, sizes of updates) is seen. Nothing is
        written but the report, one HTML file that needs no network and can be sent to others. See docs/diagnose.md.

        Args:
            model: what was trained.
            datamodule: what it was trained on, with the state that the checkpoint holds.
            ckpt_path: the checkpoint, or the run's directory for its last one.
            steps: iterations that are trained in memory; more see slower cycles.
            out: the report, or a folder that is there, for report.html in it; in the run's directory if None.

        Raises:
            TypeError: no callback that examines, such as ``callbacks.Examination``.
            ValueError: fewer than 1 step, or a checkpoint that does not fit the model.
        """
        examiner = next((c for c in self.callbacks if isinstance(c, Examiner)), None)  # type: ignore[attr-defined]
        if examiner is None:
            raise TypeError("diagnose needs a callback that examines: GameTrainer(callbacks=[Examination(), ...]).")
        if steps < 1:
            raise ValueError(f"--steps {steps}: at least 1 iteration.")
        checkpoint = load_checkpoint(ckpt_path)
        check_fits(model, checkpoint, ckpt_path)
        root = Path(self.default_root_dir)
        path = root if out is None else Path(out)
        path = path / "report.html" if path.is_dir() or out is None else path
        examiner.begin(checkpoint, Path(ckpt_path), root)
        with self._scratch():
            if is_overridden("val_dataloader", model) or is_overridden("val_dataloader", datamodule):
                rank_zero_info("Samples are measured, by every metric that applies ...")
                try:
                    self.validate(model, datamodule=datamodule, ckpt_path=ckpt_path, verbose=False, weights_only=True)
                except (RuntimeError, ValueError) as error:
                    examiner.failed("samples", error)
            self.limit_val_batches = 0
            self.fit_loop.epoch_loop.max_steps = checkpoint["global_step"] + steps
            try:
                self.fit(model, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
            except (RuntimeError, ValueError, ArithmeticError) as error:
                examiner.failed(f"{steps} iterations from there", error)
        if self.is_global_zero:
            examiner.finish(path)

    @contextmanager
    def _scratch(self) -> Iterator[None]:
        """Whatever callbacks write into the run's directory is gone after."""
        root: str = self._default_root_dir  # type: ignore[has-type]
        with TemporaryDirectory() as scratch, warnings.catch_warnings():
            # the run's callbacks are left out on purpose
            warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks")
            self._default_root_dir = scratch
            try:
                yield
            finally:
                self._default_root_dir = root


def write_samples(samples: list[Tensor], out: Path, start: int = 0, labels: Tensor | None = None) -> None:
    """Write data-space samples into one ``.npz``, with their labels, or as PNG images named by their index.

    Raises:
        ValueError: where samples that are not images of 1 or 3 channels are to become PNG.
    """
    if out.suffix == ".npz":
        out.parent.mkdir(parents=True, exist_ok=True)
        arrays = {"samples": np.stack([sample.float().numpy() for sample in samples])}
        if labels is not None:
            arrays["labels"] = labels.numpy()
        np.savez_compressed(out, **arrays)  # type: ignore[arg-type]  # the stub's allow_pickle is meant
        return
    if samples[0].ndim != 3 or samples[0].shape[0] not in (1, 3):
        raise ValueError(
            f"--out {out}: samples of shape {tuple(samples[0].shape)} are no images of 1 or 3 channels; give a file "
            "ending in .npz."
        )
    out.mkdir(parents=True, exist_ok=True)
    for i, sample in enumerate(samples, start):
        to_pil_image(sample.float().clamp(0, 1)).save(out / f"{i:06d}.png")
