"""GANs as differentiable two-player games: LightningModules that stay stable, and that say why when they don't."""

from gan_modules.base import GameModule
from gan_modules.bilinear_game import BilinearGame
from gan_modules.conditional_gan import ConditionalGAN
from gan_modules.dirac_gan import DiracGAN
from gan_modules.dragan import DRAGAN
from gan_modules.feature_matching_gan import FeatureMatchingGAN
from gan_modules.fisher_gan import FisherGAN
from gan_modules.gan import GANModule
from gan_modules.gaussian_gan import GaussianGAN
from gan_modules.hinge_gan import HingeGAN
from gan_modules.hopf_game import HopfGame
from gan_modules.ipm_gan import IPMGAN
from gan_modules.linear_quadratic_game import LinearQuadraticGame
from gan_modules.lipschitz_gan import LipschitzGAN
from gan_modules.lsgan import LSGAN
from gan_modules.minimax_gan import MinimaxGAN
from gan_modules.mmd_gan import MMDGAN
from gan_modules.nsgan import NSGAN
from gan_modules.optimizers import Adam
from gan_modules.pac_gan import PacGAN
from gan_modules.r1_gan import R1GAN
from gan_modules.r3gan import R3GAN
from gan_modules.record import NonFiniteError
from gan_modules.robust_gan import RobustGAN
from gan_modules.sngan import SNGAN
from gan_modules.sobolev_gan import SobolevGAN
from gan_modules.unrolled_gan import UnrolledGAN
from gan_modules.wgan import WGAN
from gan_modules.wgan_gp import WGANGP

__all__ = [
    "ConditionalGAN",
    "DRAGAN",
    "FeatureMatchingGAN",
    "FisherGAN",
    "IPMGAN",
    "LipschitzGAN",
    "MMDGAN",
    "PacGAN",
    "R1GAN",
    "RobustGAN",
    "SNGAN",
    "SobolevGAN",
    "UnrolledGAN",
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
