"""A picture of the averaged generator's samples at every validation."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from callbacks.data_space import decoder
from gan_modules.protocols import Sampler


class SampleGrid(Callback):
    """Writes ``samples/<iteration>.png`` into the run's directory and logs it as ``samples``, at every validation.

    Images become a grid, points of the plane a scatter plot over the held-out data. The samples are those of the same
    latents each time, so that one picture can be compared with the next.

    Args:
        n: number of images in the grid (points are 1,000).
        columns: images in a row.
        seed: names the sequence of samples.
    """

    def __init__(self, n: int = 64, columns: int = 8, seed: int = 0) -> None:
        if n < 1 or columns < 1:
            raise ValueError(f"SampleGrid(n={n}, columns={columns}): both must be at least 1.")
        self.n = n
        self.columns = columns
        self.seed = seed
        self.path: Path | None = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        picture = self._picture(trainer, pl_module)
        if picture is None:
            return
        name = f"{trainer.global_step:06d}" if trainer.state.fn == "fit" else str(trainer.state.fn.value)  # type: ignore[union-attr]
        self.path = Path(trainer.default_root_dir, "samples", f"{name}.png")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(self.path)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("samples", [picture], step=trainer.global_step)

    def _picture(self, trainer: Trainer, pl_module: LightningModule) -> Image.Image | None:
        decode = decoder(trainer)
        if not isinstance(pl_module, Sampler):
            raise TypeError(f"{type(pl_module).__name__} has no sample(n, *, seed, start), which a picture needs.")
        probe = decode(pl_module.sample(1, seed=self.seed))
        if probe.ndim == 4 and probe.shape[1] in (1, 3):
            return image_grid(decode(pl_module.sample(self.n, seed=self.seed)), self.columns)
        if probe.ndim == 2 and probe.shape[1] == 2:
            reals = getattr(getattr(trainer, "datamodule", None), "reals", None)
            held_out = [] if reals is None else [decode(real) for real, *_ in reals("val")]
            return scatter(decode(pl_module.sample(1000, seed=self.seed)), torch.cat(held_out) if held_out else None)
        return None


def image_grid(images: Tensor, columns: int, side: int = 32) -> Image.Image:
    """A grid of images (N, 1 or 3, H, W) in [0, 1], each enlarged by a whole factor to at least ``side`` pixels."""
    factor = max(1, -(-side // max(images.shape[2:])))
    enlarged = images.clamp(0, 1).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    picture: Image.Image = to_pil_image(make_grid(enlarged.float().cpu(), nrow=columns, padding=2, pad_value=0.5))
    return picture


def scatter(points: Tensor, reals: Tensor | None) -> Image.Image:
    """Points (N, 2) over real ones, equal axes."""
    figure = Figure(figsize=(5, 5), dpi=100)
    axes = figure.subplots()
    if reals is not None:
        axes.scatter(reals[:, 0].cpu(), reals[:, 1].cpu(), s=4, color="0.75", label="held-out data")
    axes.scatter(points[:, 0].cpu(), points[:, 1].cpu(), s=4, color="tab:orange", alpha=0.6, label="samples")
    axes.set_aspect("equal")
    axes.legend(loc="upper right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)
