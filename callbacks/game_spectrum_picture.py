"""A game's spectrum in the complex plane."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from PIL import Image

from gan_modules.dynamics import Stability

_STABLE, _GROWS, _EDGE = "tab:blue", "tab:red", "0.35"


def draw_spectrum(answer: Stability, iteration: int) -> Image.Image:
    """Multipliers of the update against the unit circle, and eigenvalues of rate x Jacobian against |1 + l| = 1.

    Filled where converged, hollow where not; red where a displacement
    grows; the one that binds is circled.
    """
    figure = Figure(figsize=(10, 5.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    figure.suptitle(f"iteration {iteration}: {_headline(answer)}", fontsize=11)
    draw_multipliers(left, answer)
    draw_exponents(right, answer)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer)


def _headline(answer: Stability) -> str:
    if math.isfinite(answer.lr_over_limit) and answer.lr_over_limit > 0:
        return f"{answer.verdict}, lr / h* = {answer.lr_over_limit:.3g}" + (f" ({answer.kind})" if answer.kind else "")
    return answer.verdict


def draw_multipliers(axes: Any, answer: Stability) -> None:
    """Multipliers of the update against the unit circle."""
    axes.set_title("multipliers of the update", fontsize=10)
    axes.add_patch(Circle((0, 0), 1, facecolor="tab:blue", alpha=0.06))
    axes.add_patch(Circle((0, 0), 1, fill=False, color=_EDGE, linewidth=1, label="unit circle"))
    values = answer.multipliers.numpy()
    _points(axes, values, answer.known_multipliers.numpy(), np.abs(values) > 1 + 1e-9)
    if answer.binding is not None:
        where = "grows most" if answer.limit is None else f"where it binds, at {answer.limit:.3g} x the rates"
        b = answer.binding
        axes.scatter([b.real, b.real], [b.imag, -b.imag], s=140, facecolor="none", edgecolor="k", label=where)
    reach = 1.08 * max(1.0, float(np.abs(values).max()), abs(answer.binding or 0))
    _frame(axes, (-reach, reach), (-reach, reach))
    axes.set_aspect("equal")


def draw_exponents(axes: Any, answer: Stability) -> None:
    """Eigenvalues of rate x Jacobian against the circle |1 + l| = 1."""
    values = answer.exponents.numpy()
    simultaneous = _same(answer.multipliers.numpy(), 1 + values)
    axes.set_title("eigenvalues of rate x Jacobian, per iteration", fontsize=10)
    axes.add_patch(Circle((-1, 0), 1, facecolor="tab:blue", alpha=0.06 if simultaneous else 0.03))
    label = "|1 + l| = 1" if simultaneous else "|1 + l| = 1 (plain simultaneous steps)"
    style = "-" if simultaneous else "--"
    axes.add_patch(Circle((-1, 0), 1, fill=False, color=_EDGE, linewidth=1, linestyle=style, label=label))
    grows = np.abs(1 + values) > 1 + 1e-9 if simultaneous else values.real > 0
    _points(axes, values, answer.known_exponents.numpy(), grows)
    if simultaneous and answer.limit and math.isfinite(answer.limit) and answer.binding is not None:
        b = (answer.binding - 1) / answer.limit
        axes.scatter([b.real, b.real], [b.imag, -b.imag], s=140, facecolor="none", edgecolor="k", label="binds")
    low, high = min(0.0, values.real.min()), max(0.0, values.real.max())
    up = float(np.abs(values.imag).max())
    room = 0.12 * max(high - low, up, 1e-12)
    half = max(up + room, 0.3 * (high - low))
    _frame(axes, (low - room, high + room), (-half, half))


def _points(axes: Any, values: Any, known: Any, grows: Any) -> None:
    for mask, color in ((~grows, _STABLE), (grows, _GROWS)):
        found, open_ = values[mask & known], values[mask & ~known]
        axes.scatter(found.real, found.imag, s=22, color=color, zorder=3)
        axes.scatter(open_.real, open_.imag, s=22, facecolor="none", edgecolor=color, linewidth=0.8, zorder=3)
    if grows.any():
        axes.scatter([], [], s=22, color=_GROWS, label="grows")
    if not known.all():
        axes.scatter([], [], s=22, facecolor="none", edgecolor="0.4", label="not converged")


def _same(a: Any, b: Any) -> bool:
    return len(a) == len(b) and bool(np.allclose(np.sort_complex(a), np.sort_complex(b), atol=1e-6))


def _frame(axes: Any, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.axvline(0, color="0.85", linewidth=0.8, zorder=0)
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_xlabel("real")
    axes.set_ylabel("imaginary")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False, fontsize=8)
