"""Fixed low-pass resampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Resample(nn.Module):
    """Bilinear doubling of the sides of (B, C, H, W), or its halving: the low-pass [1, 3, 3, 1], zero outside.

    Both keep constants in the interior; doubling is 4 times the adjoint of halving. It is the filter of R3GAN's public
    code, which is given [1, 2, 1] and convolves it with [1, 1].
    """

    kernel: Tensor

    def __init__(self, up: bool) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.up = up
        self.register_buffer("kernel", taps.outer(taps)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        # a group a channel: one plane a row is several times as slow; under autocast x is in half precision
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        if self.up:
            return F.conv_transpose2d(x, 4 * kernel, stride=2, padding=1, groups=channels)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=channels)
