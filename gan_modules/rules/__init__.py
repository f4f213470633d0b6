"""Update rules: how the two players of a game move in one iteration."""

from gan_modules.rules.alternating import Alternating
from gan_modules.rules.base import Draw, UpdateRule
from gan_modules.rules.simultaneous import Simultaneous

__all__ = ["Alternating", "Draw", "Simultaneous", "UpdateRule"]
