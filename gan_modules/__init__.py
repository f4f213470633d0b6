"""GANs as differentiable two-player games: LightningModules that stay stable, and that say why when they don't."""

from gan_modules.base import GameModule
from gan_modules.bilinear_game import BilinearGame
from gan_modules.dirac_gan import DiracGAN
from gan_modules.gan import GANModule
from gan_modules.gaussian_gan import GaussianGAN
from gan_modules.hinge_gan import HingeGAN
from gan_modules.hopf_game import HopfGame
from gan_modules.linear_quadratic_game import LinearQuadraticGame
from gan_modules.lsgan import LSGAN
from gan_modules.minimax_gan import MinimaxGAN
from gan_modules.nsgan import NSGAN
from gan_modules.optimizers import Adam
from gan_modules.r3gan import R3GAN
from gan_modules.record import NonFiniteError
from gan_modules.wgan import WGAN
from gan_modules.wgan_gp import WGANGP

__all__ = [
    "LSGAN",
    "NSGAN",
    "R3GAN",
    "WGAN",
    "WGANGP",
    "Adam",
    "BilinearGame",
    "DiracGAN",
    "GANModule",
    "GameModule",
    "GaussianGAN",
    "HingeGAN",
    "HopfGame",
    "LinearQuadraticGame",
    "MinimaxGAN",
    "NonFiniteError",
]
