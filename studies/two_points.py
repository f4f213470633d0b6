"""GAN losses of two free particles against data at 0 and 1, with the best discriminator, exactly.

Sun, Fang and Schwing, "Towards a better global loss landscape of GANs", 2020. Losses are half the usual, so that a
perfect generator has -log 2; particles and data count half each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import xlogy
from torch import Tensor
from torch.nn.functional import softplus

from gan_modules.batch import key
from gan_modules.networks import MLPDiscriminator

Array = np.ndarray[Any, np.dtype[np.float64]]
DATA = (0.0, 1.0)
LOG2 = math.log(2)
#: slope of D, times the distance of the two points, up to which the collapsed state is no local minimum: see ``slope``
LOG6 = math.log(6)


def masses(particles: Sequence[float]) -> tuple[Array, Array, Array]:
    """Where data or particles are, in order, and their masses p and q there."""
    atoms = np.array(sorted({*DATA, *particles}))
    p, q = (np.array([list(points).count(atom) / len(points) for atom in atoms]) for points in (DATA, particles))
    return atoms, p, q


def jensen_shannon(particles: Sequence[float]) -> float:
    """sup_D (E log D(x) + E log(1 - D(y))) / 2: each atom takes its D = p / (p + q)."""
    _, p, q = masses(particles)
    return float(xlogy(p, p / (p + q)).sum() + xlogy(q, q / (p + q)).sum()) / 2


def non_saturating(particles: Sequence[float]) -> float:
    """The loss -E log D(y) of a non-saturating generator at the D that is best for ``jensen_shannon``."""
    _, p, q = masses(particles)
    with np.errstate(divide="ignore"):
        return float(-xlogy(q, p / (p + q)).sum())


def pairing(particles: Sequence[float], *, every: bool = False) -> float:
    """sup_f of the mean over pairs of log sigmoid(f(x) - f(y)): the i-th particle with the i-th datum, or every pair.

    A pair is an edge from x to y. Edges in no cycle are won by as much as f likes: 0. Those within a strongly connected
    part are not; if as many enter each atom as leave it, then f constant is stationary, and as the problem is
    concave best: -log 2 each.

    Raises:
        ValueError: a strongly connected part that is not so balanced, which two points do not have.
    """
    pairs = list(product(DATA, particles)) if every else list(zip(DATA, particles, strict=True))
    atoms = masses(particles)[0].tolist()
    edges = np.zeros((len(atoms), len(atoms)))
    for x, y in pairs:
        edges[atoms.index(x), atoms.index(y)] += 1
    parts = connected_components(edges, connection="strong")[1]
    inner = edges * (parts[:, None] == parts[None, :])
    if not np.array_equal(inner.sum(0), inner.sum(1)):
        raise ValueError(f"Particles at {particles}: a cycle of pairs that is not balanced has no closed form here.")
    return -LOG2 * float(inner.sum()) / len(pairs) + 0.0


def bounded(particles: Sequence[float], slope: float) -> float:
    """``jensen_shannon`` over D whose logit has at most that slope, by its (concave) problem in the logits.

    With both particles at 0 such a D is the steepest line, f(0) = t and f(1) = t + K, and the particles are drawn along
    it. As one leaves by e, D may turn against it: f(e) = t - K e, for which f(1) loses 2 K e. It does where its gain
    exceeds its loss, sigmoid(t) > 2 sigmoid(-t - K). With t at its best, sigmoid(-t) - 2 sigmoid(t) + sigmoid(-t - K)
    = 0, both are equal at sigmoid(t) = 2/5: K = log 4 - log(2/3) = log 6. Below it collapse is no minimum of any kind.
    """
    atoms, p, q = masses(particles)
    gaps = np.diff(atoms)

    def loss(v: Array) -> tuple[float, Array]:
        logits = v[0] + np.concatenate([[0.0], np.cumsum(v[1:])])
        d = 1 / (1 + np.exp(-logits))
        gradient = (p * (1 - d) - q * d) / 2
        value = -(p @ np.logaddexp(0, -logits) + q @ np.logaddexp(0, logits)) / 2
        return -value, -np.cumsum(gradient[::-1])[::-1]

    found = minimize(
        loss,
        np.zeros(len(atoms)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None), *((-slope * gap, slope * gap) for gap in gaps)],
        options={"ftol": 1e-15, "gtol": 1e-12},
    )
    return -float(found.fun)


def critical_slope(step: float = 1e-5) -> float:
    """The slope above which leaving a collapsed state goes uphill at once, by bisection of what ``bounded`` says."""
    low, high = 0.5, 5.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        if bounded((0.0, step), middle) > bounded((0.0, 0.0), middle):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def trained(particles: Sequence[float], kind: str, seed: int, steps: int) -> float:
    """The value that a network reaches as the discriminator: ``kind`` is "JS", "fixed" or "every" pair."""
    torch.manual_seed(key("two points", seed))
    network = MLPDiscriminator((1,), width=64, depth=2, activation="tanh").double()
    with torch.no_grad():  # steep enough at the start to tell points that are near
        network.hidden[0].weight *= 20
        network.hidden[0].bias *= 20
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    x, y = (torch.tensor(points, dtype=torch.float64)[:, None] for points in (DATA, particles))
    value = 0.0
    for _ in range(steps):
        loss = -_value(network(x), network(y), kind)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        value = -loss.item()
    return value


def _value(real: Tensor, fake: Tensor, kind: str) -> Tensor:
    if kind == "JS":
        return -(softplus(-real).mean() + softplus(fake).mean()) / 2
    other = real[:, None] if kind == "every" else real
    return -softplus(fake - other).mean()
