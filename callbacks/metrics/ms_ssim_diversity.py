"""How alike the images of a generator are to one another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from callbacks.metrics.base import SampleMetric
from callbacks.metrics.known import Known, NotApplicable
from callbacks.metrics.value_range import in_range

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first (Wang et al., 2003)
_WINDOW, _SIGMA = 11, 1.5
_LEAST = 3  # pixels of the smallest window
_BLOCK = 1 << 22  # numbers in a block of images: 16 MiB of float32, of which similarity takes some ten times as much


class MSSSIMDiversity(SampleMetric):
    """Mean multi-scale structural similarity of disjoint random pairs of generated images (Odena et al., 2017).

    ``compute`` gives float64 scalars:

    - ``ms_ssim``: in [0, 1], lower is more diverse; 1 where all images are the same. Read it against that of reals:
      noise is more diverse than they are. A pair of negative similarity counts as 0, as usual (1610.09585).
    - ``ms_ssim_scales``, ``ms_ssim_window``: the protocol, which the size of images decides. Values of different
      protocols do not compare.

    Five scales and a Gaussian window of 11 pixels (std 1.5) need 176 pixels of height and width. On smaller images
    there are as many scales as the window fits into, with exponents rescaled to the same sum: 4 from 99 pixels, 3 from
    44, 2 from 22 (MNIST, CIFAR-10); below 11, one scale (which is SSIM) and the largest odd window that fits, of std in
    proportion: 7 on 8x8 digits.

    Args:
        capacity: of images that are kept, a random subset where there are more; pairs are made of them. 500 images
            take 6 MiB and 1 s at 3 x 32 x 32, and 375 MiB and half a minute at 3 x 256 x 256.
        kwargs: as of ``SampleMetric``.
    """

    sees = ("samples", "index")
    reals = None
    higher_is_better = False
    plot_upper_bound = 1.0
    fake_seen: Tensor
    fake_shape: Tensor

    def __init__(self, capacity: int = 500, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_rows("fake", capacity)
        # the sum of (C, H, W) over images: merges as sums do, and the mean is the shape
        self.add_state("fake_shape", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def setup(self, known: Known) -> None:
        """Nothing is needed.

        Raises:
            NotApplicable: samples are no images of at least 3 x 3 pixels.
        """
        super().setup(known)
        if len(known.shape) != 3 or min(known.shape[1:]) < _LEAST:
            raise NotApplicable(
                f"MSSSIMDiversity needs images (C, H, W) of at least 3 x 3 pixels, not samples of shape {known.shape}"
            )

    def update(self, images: Tensor, real: bool = False, index: Tensor | None = None) -> None:
        """Keep generated images (N, C, H, W), floats in [0, 1]; reals are left out.

        Args:
            images: in data space.
            real: whether they are reals.
            index: numbers (N,) of the images in the whole sequence.

        Raises:
            ValueError: of another shape, not floating, not finite, or out of range.
        """
        if images.ndim != 4 or min(images.shape[2:]) < _LEAST:
            raise ValueError(f"images of shape {tuple(images.shape)} must be (N, C, H, W), of at least 3 x 3 pixels.")
        images = in_range(images, (0.0, 1.0), "MSSSIMDiversity")
        shape = torch.tensor(images.shape[1:], device=self.fake_shape.device)
        if self.fake_seen and not torch.equal(self._shape(), shape):
            raise ValueError(
                f"images of shape {tuple(shape.tolist())} follow others of {tuple(self._shape().tolist())}."
            )
        rows = self.checked(images.flatten(1))
        if not real:
            self.fake_shape = self.fake_shape + shape * len(rows)
            self.keep("fake", rows, index)

    def compute(self) -> dict[str, Tensor]:
        """Mean similarity and protocol, by name.

        Raises:
            ValueError: fewer than two generated images.
        """
        rows = self.kept("fake")
        if len(rows) < 2:
            raise ValueError(
                f"MSSSIMDiversity has {len(rows)} generated sample(s), and a pair needs 2: "
                "call update(images) before compute()."
            )
        images = rows.reshape(len(rows), *self._shape().tolist())
        scales, window = protocol(*images.shape[2:])
        size = max(1, _BLOCK // rows.shape[1])
        pairs = len(rows) // 2
        ones, others = torch.split(images[:pairs], size), torch.split(images[pairs : 2 * pairs], size)
        similarity = torch.cat([_similarity(*two, scales, window) for two in zip(ones, others, strict=True)])
        count = torch.tensor([scales, window], dtype=torch.float64)
        return {"ms_ssim": similarity.double().mean(), "ms_ssim_scales": count[0], "ms_ssim_window": count[1]}

    def _shape(self) -> Tensor:
        return self.fake_shape // self.fake_seen


def protocol(height: int, width: int) -> tuple[int, int]:
    """Number of scales, and width of the window in pixels, for images of this size, at least 3 x 3."""
    size = min(height, width)
    window = min(_WINDOW, size - (size + 1) % 2)
    # torchmetrics asks for (s - 1)^2 windows side by side, s scales for 2^(s - 1)
    fits = (s for s in range(1, len(_EXPONENTS) + 1) if max(2 ** (s - 1), (s - 1) ** 2) * window <= size)
    return max(fits), window


def _similarity(one: Tensor, two: Tensor, scales: int, window: int) -> Tensor:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    exponents = _EXPONENTS[:scales]
    similarity: Tensor = multiscale_structural_similarity_index_measure(
        one,
        two,
        sigma=_SIGMA * window / _WINDOW,
        kernel_size=window,
        betas=tuple(exponent * sum(_EXPONENTS) / sum(exponents) for exponent in exponents),
        data_range=(0.0, 1.0),
        reduction="none",
    )
    return similarity.reshape(-1)
