"""GANs as differentiable two-player games: LightningModules that stay stable, and that say why when they don't."""

from gan_modules.base import GameModule, NonFiniteError
from gan_modules.gan import GANModule
from gan_modules.hinge_gan import HingeGAN
from gan_modules.lsgan import LSGAN
from gan_modules.minimax_gan import MinimaxGAN
from gan_modules.nsgan import NSGAN
from gan_modules.optimizers import Adam
from gan_modules.r3gan import R3GAN
from gan_modules.wgan import WGAN
from gan_modules.wgan_gp import WGANGP

__all__ = [
    "LSGAN",
    "NSGAN",
    "R3GAN",
    "WGAN",
    "WGANGP",
    "Adam",
    "GANModule",
    "GameModule",
    "HingeGAN",
    "MinimaxGAN",
    "NonFiniteError",
]
