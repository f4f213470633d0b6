"""Differentiable augmentation of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.augmentation.base import RowAugmentation
from gan_modules.batch import RandomRows
from gan_modules.discriminator_pass import Memory


@dataclass(frozen=True)
class DiffAugment(RowAugmentation):
    """D sees real and fake images after random transformations, of each row its own (Zhao et al., 2020, section 3).

    Against a D that knows few images by heart. Magnitudes are those of the authors' public code: "color" shifts the
    brightness, scales the saturation by 0 to 2 (three channels only) and the contrast by 0.5 to 1.5; "translation"
    moves by up to an eighth of the side, zeros coming in; "cutout" sets a rectangle of half the sides to zero, its
    centre anywhere, what lies outside cut off; both in whole pixels, rounded half up. "flip", which is not the paper's,
    mirrors left and right half of the rows.

    Args:
        policy: names of transformations, done in this order; none leaves rows as they are.
        brightness: largest shift of "color", in units of training space: the paper's 0.5 for pixels from -1 to 1 is
            0.25 for pixels from 0 to 1.
    """

    policy: tuple[str, ...] = ("color", "translation", "cutout")
    brightness: float = 0.25

    def __post_init__(self) -> None:
        if isinstance(self.policy, str):
            raise ValueError(f"DiffAugment(policy={self.policy!r}): give a sequence of names, as ('color', 'cutout').")
        object.__setattr__(self, "policy", tuple(self.policy))
        unknown = [name for name in self.policy if name not in _TRANSFORMATIONS]
        if unknown:
            raise ValueError(
                f"DiffAugment(policy=...): {', '.join(unknown)} not known; it has {', '.join(_TRANSFORMATIONS)}."
            )
        if not self.brightness >= 0:
            raise ValueError(f"DiffAugment(brightness={self.brightness}): a largest shift is at least 0.")

    def apply(self, x: Tensor, random: RandomRows, memory: Memory) -> Tensor:
        if x.ndim != 4:
            raise ValueError(
                f"DiffAugment(policy={self.policy}) needs images (channels, height, width), and samples have shape "
                f"{tuple(x.shape[1:])}: take it out, or use InstanceNoise, which knows no shape."
            )
        for name in self.policy:
            x = _TRANSFORMATIONS[name](x, random.under(name), self)
        return x


def _uniform(name: str, low: float, high: float, x: Tensor, random: RandomRows) -> Tensor:
    """A number of each image's own, (B, 1, 1, 1)."""
    return (low + (high - low) * random.uniform(name)).to(x.dtype).view(-1, 1, 1, 1)


def _color(x: Tensor, random: RandomRows, augment: DiffAugment) -> Tensor:
    x = x + _uniform("brightness", -augment.brightness, augment.brightness, x, random)
    if x.shape[1] == 3:
        x = torch.lerp(x.mean(1, keepdim=True), x, _uniform("saturation", 0.0, 2.0, x, random))
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, _uniform("contrast", 0.5, 1.5, x, random))


def _translation(x: Tensor, random: RandomRows, augment: DiffAugment) -> Tensor:
    for dim in (2, 3):
        size, reach = x.shape[dim], int(x.shape[dim] / 8 + 0.5)
        shift = random.integers(f"shift {dim}", 2 * reach + 1) - reach
        source = _line(torch.arange(size, device=x.device) - shift[:, None], dim)
        inside = (source >= 0) & (source < size)
        # modulo, so that no pixel is read twice: what came round is zeroed
        x = x.gather(dim, (source % size).expand_as(x)) * inside
    return x


def _cutout(x: Tensor, random: RandomRows, augment: DiffAugment) -> Tensor:
    inside = None
    for dim in (2, 3):
        size = x.shape[dim]
        side = int(size / 2 + 0.5)
        # an even number of them lies between pixels, so that its centre has one place more
        centre = random.integers(f"centre {dim}", size + 1 - side % 2)
        offset = _line(torch.arange(size, device=x.device) - (centre - side // 2)[:, None], dim)
        within = (offset >= 0) & (offset < side)
        inside = within if inside is None else inside & within
    return x.masked_fill(inside, 0.0) if inside is not None else x


def _flip(x: Tensor, random: RandomRows, augment: DiffAugment) -> Tensor:
    return torch.where(_uniform("flip", 0.0, 1.0, x, random) < 0.5, x.flip(3), x)


def _line(values: Tensor, dim: int) -> Tensor:
    """(B, size) along dimension ``dim`` of images."""
    return values[:, None, :, None] if dim == 2 else values[:, None, None, :]


_TRANSFORMATIONS: dict[str, Callable[[Tensor, RandomRows, DiffAugment], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
    "flip": _flip,
}
