"""Feature matching (Salimans et al., 2016, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from gan_modules.discriminator_pass import PENULTIMATE
from gan_modules.gan import GANModule
from gan_modules.losses import AdversarialLoss, FeatureMatching, NonSaturating


class FeatureMatchingGAN(GANModule):
    """G minimises the squared distance of the mean features of D's layers between real and fake rows; D is as usual.

    A generator that collapsed to one mode still gets a strong signal from the means that it misses. As a term on any
    other variant: ``gan_modules.penalties.FeatureMatchingTerm``.

    Args:
        generator: maps z to samples.
        discriminator: maps samples to logits.
        features: names of D's layers, as in ``named_modules()``; "penultimate" is the input of its last layer.
        weight: of the distance.
        adversarial: of the wrapped loss in G's; 0 is the paper's.
        loss: the discriminator's; NonSaturating() if None.
        kwargs: arguments of GANModule.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        features: Sequence[str] = (PENULTIMATE,),
        weight: float = 1.0,
        adversarial: float = 0.0,
        loss: AdversarialLoss | None = None,
        **kwargs: Any,
    ) -> None:
        loss = FeatureMatching(features, NonSaturating() if loss is None else loss, weight, adversarial)
        super().__init__(generator, discriminator, loss=loss, **kwargs)
