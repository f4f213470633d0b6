"""Update rules: how the two players of a game move in one iteration."""

from gan_modules.rules.alternating import Alternating
from gan_modules.rules.base import Cost, Draw, UpdateRule
from gan_modules.rules.competitive_gradient import CompetitiveGradient
from gan_modules.rules.consensus import Consensus
from gan_modules.rules.extragradient import Extragradient
from gan_modules.rules.lookahead import Lookahead
from gan_modules.rules.negative_momentum import NegativeMomentum
from gan_modules.rules.optimistic import Optimistic
from gan_modules.rules.runge_kutta import RungeKutta
from gan_modules.rules.simultaneous import Simultaneous
from gan_modules.rules.symplectic_adjustment import SymplecticAdjustment
from gan_modules.rules.unrolled import Unrolled

__all__ = [
    "Alternating",
    "CompetitiveGradient",
    "Consensus",
    "Cost",
    "Draw",
    "Extragradient",
    "Lookahead",
    "NegativeMomentum",
    "Optimistic",
    "RungeKutta",
    "Simultaneous",
    "SymplecticAdjustment",
    "Unrolled",
    "UpdateRule",
]
