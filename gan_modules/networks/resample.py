"""Fixed low-pass resampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Resample(nn.Module):
    """Bilinear doubling of the sides of (B, C, H, W), or its halving: the low-pass [1, 3, 3, 1], zero outside.

    Both keep constants in the interior; doubling is 4 times the adjoint of halving.
    """

    kernel: Tensor

    def __init__(self, up: bool) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.up = up
        self.register_buffer("kernel", taps.outer(taps)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        planes, kernel = x.flatten(0, 1).unsqueeze(1), self.kernel.to(x.dtype)  # under autocast x is half precision
        if self.up:
            planes = F.conv_transpose2d(planes, 4 * kernel, stride=2, padding=1)
        else:
            planes = F.conv2d(planes, kernel, stride=2, padding=1)
        return planes.reshape(*x.shape[:2], *planes.shape[2:])
