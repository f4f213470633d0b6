"""Packing (PacGAN; Lin et al., 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from gan_modules.networks.layers import check_positive


class Packed(nn.Module):
    """A discriminator of k samples at once (section 3): rows (B, C, ...) to the logits (B / k, ...) of packs.

    A pack is k consecutive rows, concatenated along dimension 1, so the discriminator is built for ``k C`` channels: to
    tell packs of the generator from packs of data is to see a lack of variety. Row i is in the pack i // k.

    Args:
        discriminator: maps packs (B / k, k C, ...) to logits; unconditional.
        k: samples of a pack.

    Attributes:
        rows_per_logit: k.
        shape: that of one sample, where the discriminator knows the shape of a pack.

    Raises:
        ValueError: k below one; a discriminator whose channels k does not divide; a batch that packs do not divide;
            labels, for a pack has several.
    """

    def __init__(self, discriminator: nn.Module, k: int) -> None:
        super().__init__()
        check_positive("Packed", k=k)
        self.discriminator = discriminator
        self.rows_per_logit = k
        shape = getattr(discriminator, "shape", None)
        if shape is not None:
            if shape[0] % k:
                raise ValueError(
                    f"Packed(k={k}): the {type(discriminator).__name__} takes packs of shape {tuple(shape)}, and {k} "
                    f"does not divide {shape[0]}: build it for {k} times the channels of a sample."
                )
            self.shape = (shape[0] // k, *shape[1:])

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        k = self.rows_per_logit
        if labels is not None:
            raise ValueError(f"Packed got labels: a pack of {k} samples has {k} classes, so train without classes.")
        if len(x) % k:
            raise ValueError(f"Packed(k={k}) got {len(x)} rows: make the batch size a multiple of {k}.")
        logits: Tensor = self.discriminator(x.reshape(len(x) // k, -1, *x.shape[2:]))
        return logits

    def extra_repr(self) -> str:
        return f"k={self.rows_per_logit}"
