"""Integral probability metrics: the most by which a function of a class can tell data from fakes."""

from __future__ import annotations

from torch import Tensor

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.losses.base import AdversarialLoss


class FunctionClass(AdversarialLoss):
    """sup over f in the class of E f(x) - E f(G(z)): D maximises it, G minimises it (Müller, 1997).

    f is the ``critic``, a function of what D says at a point. Of the difference G minimises what depends on it,
    -E f(G(z)), which asks nothing of real rows. Where the supremum over a part of f is known in closed form a class
    overrides ``difference`` and ``generator``; what it costs D to stay in the class is added in ``discriminator``.
    """

    def difference(self, d: DiscriminatorPass) -> Tensor:
        """E f(x) - E f(G(z)): a scalar, the estimate of the metric (or its square) as far as D is optimal."""
        return self.critic(d.real_logits, d).mean() - self.critic(d.fake_logits, d).mean()

    def discriminator(self, d: DiscriminatorPass) -> Tensor:
        return -self.difference(d)

    def generator(self, d: DiscriminatorPass) -> Tensor:
        return -self.critic(d.fake_logits, d).mean()
