"""Whitening in the data's own axes, in full or in part."""

from __future__ import annotations

from torch import Tensor

from datamodules.whitening.eigen import EigenvalueWhitening


class ZCAWhitening(EigenvalueWhitening):
    """Zero-phase whitening, y = U diag(gain) U^T (x - mean): back in the data's own axes, and in its shape.

    Of all whitenings this one stays closest to the data (Bell and Sejnowski, "The 'independent components' of natural
    scenes are edge filters", 1997; Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", 2018), so images
    still look like images. Arguments, gains and empty directions are those of EigenvalueWhitening.
    """

    # Two products with the basis instead of one with U diag(gain) U^T: rounding then stays relative to each direction,
    # and the round trip does not lose a factor sqrt(condition number).

    def _forward(self, x: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, gain, _ = operators
        return (((x - mean).flatten(1) @ basis * gain) @ basis.T).reshape(x.shape)

    def _inverse(self, y: Tensor, *operators: Tensor) -> Tensor:
        mean, basis, _, inverse_gain = operators
        return ((y.flatten(1) @ basis * inverse_gain) @ basis.T).reshape(y.shape) + mean
