"""Class-conditional batch normalisation."""

from __future__ import annotations

from torch import Tensor, nn

from gan_modules.networks.layers import class_labels


class ClassBatchNorm2d(nn.Module):
    """Batch normalisation with a scale and shift a class (Dumoulin et al., 2017, section 2.2; de Vries et al., 2017).

    Maps (B, C, H, W) and labels (B,) to (B, C, H, W); without classes it is ordinary batch normalisation. All classes
    start alike, with scale 1 and shift 0.
    """

    def __init__(self, channels: int, num_classes: int | None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=num_classes is None)
        self.scale = self.shift = None
        if num_classes is not None:
            self.scale, self.shift = nn.Embedding(num_classes, channels), nn.Embedding(num_classes, channels)
            nn.init.ones_(self.scale.weight)
            nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        normal: Tensor = self.norm(x)
        if self.scale is None or self.shift is None:
            return normal
        labels = class_labels("generator", labels)
        scale, shift = self.scale(labels), self.shift(labels)
        shaped: Tensor = normal * scale[:, :, None, None] + shift[:, :, None, None]
        return shaped
