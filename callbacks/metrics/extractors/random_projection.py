"""Random projections of the samples as features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from callbacks.metrics.extractors.base import Extractor

_ROWS = 4096  # of the matrix drawn at once; the stream of random numbers depends on it


class Projection(nn.Module):
    """x (N, D) to x P (N, d), P_ij ~ N(0, 1 / d) drawn at the first batch from (seed, D) alone."""

    matrix: Tensor

    def __init__(self, num_features: int, seed: int) -> None:
        super().__init__()
        self.seed = seed
        # not persistent: who knows the seed and D has no need of it
        self.register_buffer("matrix", torch.empty(0, num_features, dtype=torch.float32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.matrix):
            with torch.inference_mode(False):
                self.matrix = self._drawn(x.shape[1]).to(x.device)
        elif len(self.matrix) != x.shape[1]:
            raise ValueError(
                f"samples of {x.shape[1]} values, but the first ones had {len(self.matrix)}: features of different "
                "shapes can't be compared. Use one RandomProjection for each shape."
            )
        return x @ self.matrix

    def _drawn(self, size: int) -> Tensor:
        width = self.matrix.shape[1]
        generator = torch.Generator().manual_seed(self.seed)
        matrix = torch.empty(size, width, dtype=torch.float32, device="cpu")
        for rows in torch.split(matrix, _ROWS):
            rows.normal_(0, 1 / math.sqrt(width), generator=generator)
        return matrix


class RandomProjection(Extractor):
    """Flattened samples, of D values each, under a fixed Gaussian projection to d dimensions.

    Frechet and kernel distances cost as much as d features do, whatever the size of the images, and need no network: of
    images of 32x32 in three channels a covariance of 256 features, not of 3,072. Entries of the matrix are independent
    N(0, 1 / d), so that squared distances are kept on average, with a relative standard deviation of sqrt(2 / d), 9 %
    at 256 (Johnson and Lindenstrauss, 1984; proof by Gaussian entries in Dasgupta and Gupta, "An elementary proof of a
    theorem of Johnson and Lindenstrauss", 2003). As of pixels, a Frechet distance of these features tells that colours,
    brightness and coarse shapes are right, and little of what the eye sees.

    The matrix depends on seed and D alone; it takes 4 d D bytes, 3 MB for 32x32 and 201 MB for 256x256 in colour.

    Args:
        num_features: d.
        seed: names the matrix.

    Raises:
        ValueError: num_features is below 1; on features, samples of another size than the first ones.
    """

    network: Projection

    def __init__(self, num_features: int = 256, seed: int = 0) -> None:
        if num_features < 1:
            raise ValueError(f"num_features={num_features} must be at least 1.")
        name = f"random-projection-{num_features}-seed{seed}"
        super().__init__(name, num_features, Projection(num_features, seed), value_range=None)

    def features(self, samples: Tensor) -> Tensor:
        projected: Tensor = self.network(samples.flatten(1))
        return projected
