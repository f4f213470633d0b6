"""Pictures of what diagnostics found, by their class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from callbacks.game_spectrum_picture import draw_exponents, draw_multipliers
from callbacks.metrics.power_spectrum import PowerSpectrum
from callbacks.report.html import Markup, table, tag
from callbacks.report.pictures import COLORS, axes, logarithmic, row, thinned, vector
from callbacks.report.record import Record
from gan_modules.protocols import PLAYER_NAMES

#: below this, what is left of a singular value is rounding
_ZERO = 1e-12


def game(record: Record, diagnostic: Any) -> Markup | None:
    """The game's spectrum in the complex plane."""
    answer = diagnostic.answer
    if answer is None:
        return None
    finite = math.isfinite(answer.lr_over_limit) and answer.lr_over_limit > 0
    words = f"Taken for an equilibrium, this point is {answer.verdict}"
    words += f": lr / h* = {answer.lr_over_limit:.3g}" if finite else ""
    words += f", with a turn every {answer.period:.3g} iterations." if math.isfinite(answer.period) else "."
    if not answer.resolved:
        words += " Slow motions are not resolved: the fast ones alone are judged."
    drawn = []
    for key, draw, what in (
        ("multipliers", draw_multipliers, "Multipliers of the update: inside the unit circle a displacement shrinks"),
        ("exponents", draw_exponents, "Eigenvalues of rate x Jacobian: real part growth, imaginary part turn"),
    ):
        with axes(height=4.2) as (figure, ax):
            draw(ax, answer)
            values = answer.multipliers if key == "multipliers" else answer.exponents
            largest = complex(values[0]) if len(values) else 0j
            caption = f"{what}. The leading one is {largest.real:.4g} {'+' if largest.imag >= 0 else '-'} "
            caption += f"{abs(largest.imag):.4g} i."
            drawn.append(vector(figure, key, f"{caption} {words}", caption))
    return tag("div", tag("p", words), row(*drawn))


def weights(record: Record, diagnostic: Any) -> Markup | None:
    """Singular values of each layer over their rank, and a table."""
    layers: Mapping[str, Any] = diagnostic.layers
    if not layers:
        return None
    drawn, rows = [], []
    for player in PLAYER_NAMES:
        own = {name[len(player) + 1 :] or name: x for name, x in layers.items() if name.startswith(player)}
        whole = {name: x.spectrum.values.tolist() for name, x in own.items() if x.spectrum is not None}
        if any(len(values) > 1 for values in whole.values()):
            drawn.append(_singular_values(player, whole))
        for name, x in own.items():
            rank = "" if x.spectrum is None else float(x.spectrum.effective_rank / len(x.spectrum.values))
            rows.append((f"{player}.{name}", float(x.values[0]), float(x.stable_rank / x.size), rank))
    head = ("layer", "largest", "stable rank", "effective rank")
    return tag("div", row(*drawn), table(head, rows, "Singular values; ranks as shares of the largest possible"))


def _singular_values(player: str, spectra: Mapping[str, Sequence[float]]) -> Markup:
    with axes(height=3.1) as (figure, ax):
        for i, (name, values) in enumerate(spectra.items()):
            shown = [
                (k / max(len(values) - 1, 1), v / values[0]) for k, v in enumerate(values) if v > _ZERO * values[0]
            ]
            style = ("-", "--", ":")[i // len(COLORS) % 3]
            marker = "." if len(values) < 12 else None
            ax.plot(*zip(*thinned(shown), strict=True), label=name, linestyle=style, marker=marker)
        ax.set_yscale("log")
        low = max(1e-6, min(min(v / values[0] for v in values) for values in spectra.values()))
        ax.set_ylim(low / 1.5, 1.5)
        logarithmic(ax.yaxis)
        ax.set_title(f"layers of the {player}", loc="left")
        ax.set_xlabel("singular values, first (0) to last (1)")
        ax.set_ylabel("over the largest")
        figure.legend(loc="outside lower center", ncols=3 if max(map(len, spectra)) < 14 else 2)
        below = {name: sum(v < 0.1 * values[0] for v in values) / len(values) for name, values in spectra.items()}
        worst = max(below, key=lambda name: below[name])
        words = f"Singular values of the layers of the {player}. Below a tenth of the largest are at most "
        words += f"{100 * below[worst]:.0f} % of a layer's, in {worst}."
        return vector(figure, f"weights-{player}", words, words)


def curvature(record: Record, diagnostic: Any) -> Markup | None:
    """How each player's loss bends, and how many directions of the latent space the generator uses."""
    drawn = [_density(name, density) for name, density in diagnostic.density.items() if density.nodes.abs().max() > 0]
    if diagnostic.singular_values is not None:
        drawn.append(_jacobian(diagnostic.singular_values))
    rows = [(words, record.values[name]) for name, words in _CURVATURE.items() if name in record.values]
    if not drawn and not rows:
        return None
    return tag("div", row(*drawn), table(("quantity", "value"), rows, "Curvature, diversity and smoothness"))


def _density(player: str, density: Any) -> Markup:
    largest = float(density.nodes.abs().max())
    low, high = float(density.nodes.min()), float(density.nodes.max())
    room = 0.08 * max(high - low, 0.1 * largest)
    grid = torch.linspace(low - room, high + room, 240, dtype=torch.float64)
    values = density.smoothed(grid, 0.012 * (high - low) or 0.02 * largest)
    least = 1e-5 * float(values.max())
    with axes() as (figure, ax):
        ax.fill_between(grid.numpy(), least, values.clamp_min(least).numpy(), color=COLORS[0], alpha=0.3, linewidth=0)
        ax.plot(grid.numpy(), values.clamp_min(least).numpy(), linewidth=1)
        ax.plot(density.nodes.numpy(), [least] * len(density.nodes), "|", color=COLORS[1], markersize=9)
        ax.axvline(0, color="0", linestyle=":", linewidth=1)
        ax.set_yscale("log")
        logarithmic(ax.yaxis)
        ax.set_ylim(least)
        ax.set_title(f"Hessian of the {player}'s loss", loc="left")
        ax.set_xlabel("eigenvalue (marks: Ritz values)")
        ax.set_ylabel("density")
        below = 100 * density.share(high=-0.05 * largest)
        flat = 100 * density.share(-0.05 * largest, 0.05 * largest)
        words = f"Eigenvalues from {low:.4g} to {high:.4g}; {below:.2g} % clearly below 0, {flat:.3g} % nearly flat."
        return vector(figure, f"density-{player}", f"Spectral density of the {player}'s Hessian. {words}", words)


def _jacobian(values: torch.Tensor) -> Markup:
    with axes() as (figure, ax):
        places = range(1, values.shape[1] + 1)
        for one in values:
            ax.plot(places, one.clamp_min(1e-12).numpy(), color=COLORS[0], alpha=0.45, linewidth=1, marker=".")
        ax.set_yscale("log")
        logarithmic(ax.yaxis)
        ax.set_title("the generator's Jacobian dG/dz", loc="left")
        ax.set_xlabel("singular value, largest first")
        largest = float(values.max())
        alive = (values > 0.1 * largest).double().sum(1).mean()
        words = f"At {len(values)} latents; the largest is {largest:.4g}, and {float(alive):.3g} of {values.shape[1]} "
        words += "are above a tenth of it on average."
        return vector(figure, "jacobian", f"Singular values of the generator's Jacobian. {words}", words)


def power(record: Record) -> Markup | None:
    """Radial power spectra of images."""
    found = [metric for metric in record.metrics if isinstance(metric, PowerSpectrum) and len(metric.frequencies)]
    if not found:
        return None
    metric = found[0]
    distance = record.values.get(metric.name)
    words = "" if distance is None else f"They are {distance:.3g} decades apart, root mean square."
    with axes() as (figure, ax):
        frequencies = metric.frequencies.numpy()
        ax.plot(frequencies, metric.real.clamp_min(1e-30).numpy(), marker=".", label="held-out data")
        ax.plot(frequencies, metric.generated.clamp_min(1e-30).numpy(), marker=".", linestyle="--", label="samples")
        ax.set_yscale("log")
        logarithmic(ax.yaxis)
        ax.set_xlabel("frequency, cycles per pixel")
        ax.set_ylabel("power")
        figure.legend(loc="outside lower center", ncols=2)
        return row(vector(figure, "power", f"Radial power spectra of samples and held-out data. {words}", words))


def health(record: Record, diagnostic: Any) -> Markup | None:
    """What gradients, logits and the trajectory say, as a table in words."""
    rows = [(words, record.values[name]) for name, words in _HEALTH.items() if name in record.values]
    return table(("quantity", "value"), rows, "Gradients, discriminator and trajectory") if rows else None


_CURVATURE = {
    "curvature/generator/sharpness_ratio": "the generator's sharpest direction over the mean one",
    "curvature/discriminator/sharpness_ratio": "the discriminator's",
    "curvature/generator/diversity_flat": "diversity gained by a small move along flat directions, of the data's",
    "curvature/generator/diversity_sharp": "the same along sharp directions",
    "curvature/jacobian/effective_rank": "effective number of latent directions that change a sample",
    "curvature/smoothness": "roughness of grad_x D around data and samples: 0 linear, 1 a bowl",
}

_HEALTH = {
    "health/signal": "signal that reaches the generator: |dL_G / dG(z)| a sample",
    "health/signal_share": "the same as a share of D's slope at the samples",
    "health/grad_norm/generator": "norm of the generator's gradient",
    "health/grad_norm/discriminator": "norm of the discriminator's gradient",
    "health/update_ratio/generator": "an update of the generator over its weights",
    "health/update_ratio/discriminator": "an update of the discriminator over its weights",
    "health/dead/generator": "share of the generator's units that are dead",
    "health/dead/discriminator": "share of the discriminator's units that are dead",
    "health/auc/train": "P(D(real) > D(generated)), training rows",
    "health/auc/held_out": "the same, held-out rows",
    "health/overfitting": "overfitting of D: 0 generalises, 1 takes held-out rows for generated ones",
    "health/cosine/generator": "cosine of the generator's successive updates",
    "health/cosine/discriminator": "cosine of the discriminator's successive updates",
    "health/path_angle": "cosine between the path and the field: 1 straight descent, 0 rotation",
    "health/cycle": "strength of the strongest cycle, 0 to 1",
    "health/period": "its period in iterations",
}

#: title and picture of each diagnostic's section; a picture is None where the diagnostic has nothing to show
SPECTRA: dict[str, tuple[str, Callable[[Record, Any], Markup | None]]] = {
    "GradientHealth": ("Gradients and trajectory", health),
    "GameSpectrum": ("The game's spectrum", game),
    "CurvatureSpectrum": ("Curvature", curvature),
    "WeightSpectrum": ("Spectra of weights", weights),
}
