"""What the discriminator is shown instead of a sample: noise, augmentation, an adversary's answer."""

from gan_modules.augmentation.adaptive import AdaptiveAugment
from gan_modules.augmentation.adversarial_perturbation import AdversarialPerturbation
from gan_modules.augmentation.base import Augmentation, RowAugmentation, View
from gan_modules.augmentation.diff_augment import DiffAugment
from gan_modules.augmentation.instance_noise import InstanceNoise

__all__ = [
    "AdaptiveAugment",
    "AdversarialPerturbation",
    "Augmentation",
    "DiffAugment",
    "InstanceNoise",
    "RowAugmentation",
    "View",
]
