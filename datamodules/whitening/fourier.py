"""Whitening of stationary images of any size, frequency by frequency."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from datamodules.whitening.base import Whitening
from datamodules.whitening.moments import Moments, cross_spectra
from datamodules.whitening.report import WhiteningReport
from datamodules.whitening.spectrum import SpectralGain, reciprocal, share, variance_floor, with_fixed_signs


class FourierWhitening(Whitening):
    """Zero-phase whitening of images (C, H, W) whose covariance does not change under cyclic shifts.

    The mean is subtracted pixel by pixel. Then at every frequency f the C x C cross-spectral matrix
    S(f) = E X(f) X(f)^H = U diag(s) U^H gives the map X(f) -> U diag((s + epsilon)^(-power / 2)) U^H X(f). Images keep
    their shape. O(C d) memory for d coordinates, O(d (C + log d)) time a sample: 3x128x128 and larger are no matter.

    It assumes periodic stationarity: a covariance between two pixels that depends on their offset alone, modulo H and
    W. Then the covariance is block-circulant, frequencies are uncorrelated, and this is ZCA, estimated with C(C + 1)/2
    numbers a frequency instead of d(d + 1)/2: few samples do. On any other data it is the ZCA of the covariance
    averaged over all cyclic shifts. That average becomes the identity exactly, so at each frequency the channels of the
    fitted data have unit variance and no correlation; what correlates different frequencies stays: edges of the image
    that do not continue on the other side, and variance that differs from place to place (a centred object's).

    A direction of S(f) counts as empty, and maps to zero, where its variance is at most C * eps64 * max(s) at that
    frequency, or at most what rounding may feign: of the data's dtype, and of the transform in float64, at most
    (log2(H W) eps64)^2 times the variance of a pixel. So only patterns that no shift of the data shows are dropped; a
    pixel that never changes is not one of them where others do.

    Args:
        power: in [0, 1]: 0 only centres, 1 whitens; a variance s becomes s^(1 - power).
        epsilon: >= 0, in squared units of the data: added to every variance before it is inverted. With the
            orthonormal transform, white noise of variance v in the pixels adds v at every frequency.

    Raises:
        ValueError: power outside [0, 1], or epsilon negative or not finite.
    """

    statistics: ClassVar[tuple[str, ...]] = ("mean", "basis", "variance", "gain", "dropped", "floor")
    basis: Tensor  # (H, W // 2 + 1, C, C, 2): real and imaginary parts, eigenvectors in columns
    variance: Tensor  # (H, W // 2 + 1, C)
    gain: Tensor  # (H, W // 2 + 1, C)
    dropped: Tensor
    floor: Tensor

    def __init__(self, power: float = 1.0, epsilon: float = 0.0) -> None:
        super().__init__()
        self._gain = SpectralGain(power, epsilon)
        self.power, self.epsilon = power, epsilon

    @staticmethod
    def products(x: Tensor) -> Tensor:
        """Cross-spectra, (H, W // 2 + 1, C, C)."""
        return cross_spectra(x)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse what is not an image (C, H, W)."""
        if len(shape) != 3:
            raise ValueError(
                f"FourierWhitening takes images of shape (C, H, W), got samples of shape {tuple(shape)}; use "
                "ZCAWhitening, PCAWhitening or CholeskyWhitening"
            )

    def report(self) -> WhiteningReport:
        """Of the covariance averaged over all cyclic shifts."""
        self._check_fitted()
        return WhiteningReport.of(
            self.mean.numel(),
            self.variance,
            self.gain,
            dropped=self.dropped,
            floor=self.floor,
            multiplicity=_multiplicity(self.mean.shape[-1]).to(self.gain),
        )

    def _check_count(self, moments: Moments) -> None:
        super()._check_count(moments)
        n, channels = moments.count, (moments.shape or (0,))[0]
        if n <= channels:
            raise ValueError(
                f"{n} images of {channels} channels: only n - 1 = {n - 1} directions of a real frequency's "
                f"{channels} can be seen; pass more than {channels} images"
            )

    def _solve(self, moments: Moments) -> dict[str, Tensor]:
        covariance, (_, height, width) = moments.covariance, moments.mean.shape
        variance, basis = torch.linalg.eigh(covariance)
        variance, weight = variance.clamp(min=0), _multiplicity(width).to(variance)
        # a channel's variance, averaged over pixels, is its spectrum averaged over frequencies
        spectra = covariance.diagonal(dim1=-2, dim2=-1).real
        channels = (weight * spectra).sum((0, 1)) / (height * width)
        pixels = moments.resolution(channels[:, None, None].expand(moments.mean.shape))
        transform = (torch.finfo(variance.dtype).eps * math.log2(height * width)) ** 2 * channels
        rounding = (pixels.mean((1, 2)) + transform) @ basis.abs().square()
        threshold = variance_floor(variance, rounding)
        kept = torch.where(variance > threshold, variance, 0)
        return {
            "mean": moments.mean,
            "basis": torch.view_as_real(with_fixed_signs(basis)),
            "variance": kept,
            "gain": self._gain(kept),
            "dropped": share((weight * (variance - kept)).sum(), (weight * variance).sum()),
            "floor": share(threshold.max(), variance.max()),
        }

    def _operators(self) -> tuple[Tensor, ...]:
        return self.mean, self.basis, self.gain, reciprocal(self.gain)

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, gain, _ = operators
        return _scaled(x - mean, basis, gain)

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, _, inverse_gain = operators
        return _scaled(y, basis, inverse_gain) + mean


def _multiplicity(width: int) -> Tensor:
    """How many of a real image's degrees of freedom an entry of the half-plane stands for, (W // 2 + 1, 1).

    Columns 0 and, where W is even, W / 2 hold both a frequency and its negative; the others leave the negative out.
    """
    weight = torch.full((width // 2 + 1, 1), 2.0, dtype=torch.float64)
    weight[0] = 1
    if width % 2 == 0:
        weight[-1] = 1
    return weight


def _scaled(x: Tensor, basis: Tensor, gain: Tensor) -> Tensor:
    """U diag(gain) U^H at every frequency of images (N, C, H, W)."""
    u = torch.view_as_complex(basis)
    spectrum = torch.fft.rfft2(x, norm="ortho").permute(2, 3, 1, 0)
    spectrum = u @ (gain[..., None] * (u.mH @ spectrum))
    scaled: Tensor = torch.fft.irfft2(spectrum.permute(3, 2, 0, 1), s=x.shape[-2:], norm="ortho")
    return scaled
