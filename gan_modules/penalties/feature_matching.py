"""Feature matching as a term of the generator's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_modules.discriminator_pass import PENULTIMATE, DiscriminatorPass
from gan_modules.penalties.base import Penalty


@dataclass(frozen=True)
class FeatureMatchingTerm(Penalty):
    """weight * |E h(x) - E h(G(z))|^2 in the generator's loss, h D's features (Salimans et al., 2016, section 3.1).

    Summed over layers and over a layer's numbers; the means are over the rows of all processes.

    Args:
        features: names of D's layers whose outputs are matched; "penultimate" is the input of its last layer.
        weight: of the squared distance.
    """

    features: Sequence[str] = (PENULTIMATE,)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.features, str):
            raise ValueError(f"features={self.features!r}: give a sequence of layers' names, as [{self.features!r}].")
        if not self.features:
            raise ValueError("Feature matching was given no layers: name one of D's, or 'penultimate'.")
        object.__setattr__(self, "features", tuple(self.features))
        if not self.weight >= 0:
            raise ValueError(f"{type(self).__name__}(weight={self.weight}): must be at least 0.")

    @property
    def layers(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.features)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        differences = [d.mean(d.features("real", layer)) - d.mean(d.features("fake", layer)) for layer in self.layers]
        return self.weight * torch.stack([difference.square().sum() for difference in differences]).sum()
