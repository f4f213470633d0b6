"""What the discriminator is shown instead of a sample: noise, augmentation, an adversary's answer."""

from gan_modules.augmentation.base import Augmentation, RowAugmentation, View
from gan_modules.augmentation.instance_noise import InstanceNoise

__all__ = ["Augmentation", "InstanceNoise", "RowAugmentation", "View"]
