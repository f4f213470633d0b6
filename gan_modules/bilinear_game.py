"""The bilinear game, on which simultaneous gradient descent-ascent spirals outward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_modules import rules
from gan_modules.linear_quadratic_game import LinearQuadraticGame
from gan_modules.rules import UpdateRule


class BilinearGame(LinearQuadraticGame):
    """min_u max_v u^T A v: u spirals around v in the plane of each pair of singular vectors of A.

    All that happens depends on s = learning rate x singular value (Gidel et al., 2019; Zhang and Yu, 2020).

    Args:
        matrix: A, of any shape (m, n).
        start: u, then v; a random unit vector, by the seed, if None.
        kwargs: arguments of GameModule.

    Raises:
        ValueError: a matrix that is empty or not finite.
    """

    def __init__(
        self,
        matrix: Sequence[Sequence[float]] | Tensor,
        start: Sequence[float] | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        a = torch.as_tensor(matrix, dtype=torch.float64)
        if a.ndim != 2 or not a.numel() or not a.isfinite().all():
            raise ValueError(f"matrix={matrix}: A must be finite and of shape (m, n) with m, n >= 1.")
        m, n = a.shape
        # v_u = -A v and v_v = A^T u
        jacobian = torch.zeros(m + n, m + n, dtype=torch.float64)
        jacobian[:m, m:], jacobian[m:, :m] = -a, a.T
        super().__init__(jacobian, m, start, **kwargs)

    @property
    def a(self) -> Tensor:
        """The matrix A, shape (m, n)."""
        m = len(self.first.x)
        a: Tensor = -self.matrix[:m, m:]
        return a

    def in_planes(self, position: Tensor) -> Tensor:
        """Distance from 0 in the plane of each singular pair, largest singular value first: (min(m, n),)."""
        left, _, right = torch.linalg.svd(self.a, full_matrices=False)
        m = len(self.a)
        return torch.hypot(position[..., :m] @ left, position[..., m:] @ right.T)

    def rates(self, rule: UpdateRule, lr: float) -> Tensor:
        """Contraction (or growth) per iteration in the plane of each singular pair, in closed form: (min(m, n),).

        Raises:
            NotImplementedError: a rule for which no closed form is known.
        """
        sigmas = torch.linalg.svdvals(self.a).tolist()
        return torch.tensor([bilinear_rate(rule, lr * sigma, lr) for sigma in sigmas], dtype=torch.float64)

    def stability_limit(self, rule: UpdateRule) -> float:
        return bilinear_limit(rule) / float(torch.linalg.svdvals(self.a)[0])


@singledispatch
def bilinear_rate(rule: UpdateRule, s: float, lr: float) -> float:
    """Largest modulus per iteration of the rule's multipliers in a plane of singular value s / lr."""
    raise NotImplementedError(f"No closed form is known for {rule} on the bilinear game.")


@bilinear_rate.register
def _(rule: rules.Simultaneous, s: float, lr: float) -> float:
    return math.hypot(1, s)


@bilinear_rate.register
def _(rule: rules.Alternating, s: float, lr: float) -> float:
    # n steps of v along the same gradient are one of n times the rate: l^2 - (2 - n s^2) l + 1 = 0
    return _largest_root(1, rule.n_critic * s**2 - 2, 1)


@bilinear_rate.register
def _(rule: rules.Extragradient, s: float, lr: float) -> float:
    return math.sqrt(1 - s**2 + s**4)


@bilinear_rate.register
def _(rule: rules.Optimistic, s: float, lr: float) -> float:
    if s <= 0.5:
        return math.sqrt((1 + math.sqrt(1 - 4 * s**2)) / 2)
    return math.sqrt((1 + (2 * s + math.sqrt(4 * s**2 - 1)) ** 2) / 4)


@bilinear_rate.register
def _(rule: rules.Lookahead, s: float, lr: float) -> float:
    if rule.rule != rules.Simultaneous():
        raise NotImplementedError(f"No closed form is known for {rule} on the bilinear game.")
    return float(abs(1 - rule.alpha + rule.alpha * (1 + 1j * s) ** rule.k) ** (1 / rule.k))


@bilinear_rate.register
def _(rule: rules.Consensus, s: float, lr: float) -> float:
    return math.hypot(1 - rule.gamma * s**2 / lr, s)  # h sigma^2 gamma = s^2 gamma / h


@bilinear_rate.register
def _(rule: rules.SymplecticAdjustment, s: float, lr: float) -> float:
    return math.hypot(1 - rule.lambda_ * s**2 / lr, s)  # J is antisymmetric here, so that A^T xi = J^T v


@bilinear_rate.register
def _(rule: rules.CompetitiveGradient, s: float, lr: float) -> float:
    return 1 / math.hypot(1, s)


@bilinear_rate.register
def _(rule: rules.Unrolled, s: float, lr: float) -> float:
    # L_u = u^T A v + k h' |A^T u|^2: du = -h (A v + 2 k h' A A^T u)
    inner = lr if rule.lr is None else rule.lr
    return _spectral_radius([[1 - 2 * rule.k * inner / lr * s**2, -s], [s, 1]])


@bilinear_rate.register
def _(rule: rules.RungeKutta, s: float, lr: float) -> float:
    # the stability polynomial of order p is exp(z) up to z^p, at z = i s
    return float(abs(sum((1j * s) ** k / math.factorial(k) for k in range(rule.order + 1))))


@bilinear_rate.register
def _(rule: rules.NegativeMomentum, s: float, lr: float) -> float:
    if rule.rule != rules.Alternating():
        raise NotImplementedError(f"No closed form is known for {rule} on the bilinear game.")
    b = rule.beta
    # (l - 1)^2 (l - b)^2 + s^2 l^3 = 0
    polynomial = np.polymul(np.polymul([1, -1], [1, -1]), np.polymul([1, -b], [1, -b]))
    return float(max(abs(np.roots(np.polyadd(polynomial, [s**2, 0, 0, 0])))))


def bilinear_limit(rule: UpdateRule) -> float:
    """Bound on s below which the rule contracts (alternating: stays bounded) on the bilinear game; 0 where never.

    Raises:
        NotImplementedError: where the bound has no closed form in s alone.
    """
    limits: dict[type[UpdateRule], Any] = {
        rules.Simultaneous: 0.0,
        rules.Alternating: 2.0 / math.sqrt(getattr(rule, "n_critic", 1)),
        rules.Extragradient: 1.0,
        rules.Optimistic: 1 / math.sqrt(3),
        rules.CompetitiveGradient: math.inf,
        rules.RungeKutta: {2: 0.0, 3: math.sqrt(3), 4: 2 * math.sqrt(2)}.get(getattr(rule, "order", 4)),
        rules.NegativeMomentum: 2 * (1 + getattr(rule, "beta", 0.0)),
    }
    plain = not hasattr(rule, "rule") or rule == rules.NegativeMomentum(beta=getattr(rule, "beta", 0.0))
    if type(rule) not in limits or not plain:
        raise NotImplementedError(f"No closed form is known for the limit of {rule} on the bilinear game.")
    return float(limits[type(rule)])


def _largest_root(a: float, b: float, c: float) -> float:
    return float(max(abs(np.roots([a, b, c]))))


def _spectral_radius(matrix: list[list[float]]) -> float:
    return float(max(abs(np.linalg.eigvals(np.array(matrix)))))
