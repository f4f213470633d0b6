"""How the power of images is spread over frequencies, real against generated."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.moments import where_float64_is
from callbacks.metrics.value_range import in_range

_LEAST = 4  # pixels a side, which have the frequencies 1/4 and 1/2
_ROUNDING = 1e-10  # of an image's power at all frequencies, below which power is single precision's rounding
_BLOCK = 1 << 22  # numbers in a block of images


class PowerSpectrum(SampleMetric):
    """Radial power spectra of real and of generated images, averaged over images, and how far they are apart.

    The power at a frequency (u, v) is |F(u, v)|^2 / (H W), F the discrete Fourier transform of an image in data space
    over its H x W pixels: white noise of variance s^2 has s^2 everywhere, and the mean over all frequencies is the mean
    square of a pixel (Parseval). It is averaged over channels and over rings of radius sqrt(u^2 + v^2), as Durall et
    al. (2020) integrate over the angle; rings are 1 / min(H, W) wide and centred at its multiples, from the
    lowest frequency of the shorter side to its Nyquist frequency (1/2 where it is even). Left out are the corners
    beyond, and frequency 0, which is the brightness and has no scale.

    ``power_distance`` is the root mean square over rings of the difference in log10 of the two mean spectra, in
    decades: 0 where they are the same, 0.3 where power is twice or half at all frequencies. Generators that upsample
    tend to be off at high frequencies (Durall et al., 2020; Schwarz, Liao and Geiger, 2021), which a distance in
    features does not see. Its floor, of real samples, falls with their number.

    Sums over images are all that is kept, so values are the same over any batches and processes.

    Attributes:
        frequencies: of each ring, in cycles per pixel, after ``compute``: the mean over its frequencies.
        real: the reals' mean power in each ring, float64.
        generated: the generated images'.

    Args:
        kwargs: as of ``SampleMetric``.
    """

    sees = ("samples",)
    name = "power_distance"
    higher_is_better = False
    real_power: Tensor
    fake_power: Tensor
    real_shape: Tensor
    fake_shape: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.frequencies, self.real, self.generated = (torch.empty(0, dtype=torch.float64) for _ in range(3))
        for side in ("real", "fake"):
            # sums over images: of the power in each ring, and of (1, C, H, W), whose mean is the shape
            self.add_state(f"{side}_power", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_shape", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def setup(self, known: Known) -> None:
        """Nothing is needed.

        Raises:
            NotApplicable: samples are no images of at least 4 x 4 pixels.
        """
        super().setup(known)
        if len(known.shape) != 3 or min(known.shape[1:]) < _LEAST:
            raise NotApplicable(
                f"PowerSpectrum needs images (C, H, W) of at least {_LEAST} x {_LEAST} pixels, not samples of shape "
                f"{known.shape}"
            )

    def update(self, images: Tensor, real: bool) -> None:
        """Add images (N, C, H, W), floats in data space, of either side.

        Raises:
            ValueError: of another shape than before, not floating, or not finite.
        """
        if images.ndim != 4 or min(images.shape[2:]) < _LEAST:
            raise ValueError(
                f"images of shape {tuple(images.shape)} must be (N, C, H, W), of at least {_LEAST} x {_LEAST} pixels."
            )
        images = in_range(images, None, "PowerSpectrum")
        shape = torch.tensor([1, *images.shape[1:]])
        for seen in (self.real_shape, self.fake_shape):
            if seen[0] and not torch.equal(seen.cpu(), shape * seen[0].cpu()):
                before = tuple((seen[1:] // seen[0]).tolist())
                raise ValueError(f"images of shape {tuple(shape[1:].tolist())} follow others of {before}.")
        if len(images):
            side = "real" if real else "fake"
            power: Tensor = getattr(self, f"{side}_power")
            total = ring_power(images).to(power)
            setattr(self, f"{side}_power", total if not len(power) else power + total)
            known: Tensor = getattr(self, f"{side}_shape")
            setattr(self, f"{side}_shape", known + len(images) * shape.to(known.device))

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            ValueError: no real or no generated images, or of different shapes.
        """
        counts = int(self.real_shape[0]), int(self.fake_shape[0])
        self.require(True, counts[0], 1)
        self.require(False, counts[1], 1)
        shape = (self.real_shape[1:] // counts[0]).tolist()
        self.frequencies = rings(shape[1], shape[2])[2]
        self.real, self.generated = self.real_power.cpu() / counts[0], self.fake_power.cpu() / counts[1]
        # both by one least power, that of images without any detail: no logarithm of rounding, and 0 for equal sides
        least = _ROUNDING * torch.maximum(self.real.mean(), self.generated.mean()).clamp_min(1e-300)
        logs = [spectrum.clamp_min(least).log10() for spectrum in (self.real, self.generated)]
        return (logs[0] - logs[1]).square().mean().sqrt()

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw both spectra of the last ``compute``, or of now where there was none; else values ``val``.

        Needs matplotlib.
        """
        if val is not None:
            return super().plot(val, ax)
        import matplotlib.pyplot as plt

        if not len(self.frequencies):
            self.compute()
        figure, axes = plt.subplots() if ax is None else (ax.get_figure(), ax)
        for name, spectrum in (("real", self.real), ("generated", self.generated)):
            axes.loglog(self.frequencies, spectrum, marker="o", markersize=3, label=name)
        axes.set(xlabel="frequency (cycles per pixel)", ylabel="power")
        axes.legend()
        return figure, axes


def ring_power(images: Tensor) -> Tensor:
    """The sum over images (N, C, H, W) of the mean power in each ring, float64, shape (rings,)."""
    height, width = images.shape[2:]
    ring, count = rings(height, width)[:2]
    sums = torch.zeros(len(count) + 1, dtype=torch.float64)
    for block in torch.split(where_float64_is(images), max(1, _BLOCK // images[0].numel())):
        parts = torch.view_as_real(torch.fft.rfft2(block.double(), norm="ortho"))
        # over images and channels first, in rows: many times faster than over several axes at once
        power = parts.flatten(2).flatten(0, 1).square().sum(0).view(height, -1, 2).sum(2).cpu()
        sums.index_add_(0, ring, (power * _times(width)).flatten())
    return sums[:-1] / (count * images.shape[1])


@cache
def rings(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """The ring of each frequency that ``rfft2`` gives, flat; each ring's number of frequencies, and their mean radius.

    A frequency that is in none (0, and the corners) has the number of rings for its ring.
    """
    size = min(height, width)
    number = size // 2
    vertical = torch.fft.fftfreq(height, dtype=torch.float64)
    horizontal = torch.fft.rfftfreq(width, dtype=torch.float64)
    radius = torch.hypot(vertical[:, None], horizontal)
    ring = (radius * size + 0.5).floor().long() - 1
    ring = torch.where((ring < 0) | (ring >= number), number, ring).flatten()
    times = _times(width).expand(height, -1)
    zeros = torch.zeros(number + 1, dtype=torch.float64)
    count = zeros.index_add(0, ring, times.flatten())[:-1]
    return ring, count, zeros.index_add(0, ring, (times * radius).flatten())[:-1] / count


@cache
def _times(width: int) -> Tensor:
    """How many frequencies each column of the half spectrum stands for: its opposite too, but for 0 and Nyquist's."""
    times = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)
    times[0] = 1
    if width % 2 == 0:
        times[-1] = 1
    return times
