"""The singular values of every layer of both players, and how much the players stretch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from callbacks.diagnostic import Diagnostic, first_draw
from gan_modules.batch import GameBatch
from gan_modules.checks import evaluating
from gan_modules.discriminator_pass import call
from gan_modules.dynamics import (
    LINEAR_LAYERS,
    LayerSpectrum,
    Trace,
    frobenius_norm,
    layer_spectrum,
    leading_singular_values,
    lipschitz_bound,
    measured_slope,
    spectrum_operations,
)
from gan_modules.protocols import DISCRIMINATOR, GENERATOR, PLAYER_NAMES
from gan_modules.steps import frozen, unchanged_buffers

_ROWS = 64  # real rows at which D's slope is measured, and as many generated ones
_SAMPLES = 16  # latents at which G's is
_MULTIPLICATIONS = 1 << 29  # a decomposition below this is made in any case: a second of one core, mostly far less
_SMALL = 0.1  # of the largest singular value


@dataclass(frozen=True)
class Layer:
    """What a look found of a layer.

    Attributes:
        values: the leading singular values (k,) of the layer as it acts, descending.
        size: number of its inputs or of its outputs, whichever is smaller.
        stable_rank: sum of all squared singular values over the largest one's square, from 1 to ``size``; 0 for zeros.
        spectrum: all its singular values, or None.
    """

    values: Tensor
    size: int
    stable_rank: float
    spectrum: LayerSpectrum | None


class WeightSpectrum(Diagnostic):
    """The singular values of each linear and convolution layer of both players, as the operator that it is.

    Layers are taken as they act in eval mode, frozen ones too, and a spectral normalisation does not iterate. A layer
    is named by its path, for instance ``discriminator.hidden.0``. Logged are

    - ``sigma/<layer>``: its largest singular value; ``sigma/<layer>/2`` and on, up to ``k``: the next ones. Growing
      values in D go with exploding gradients.
    - ``weights/<player>/stable_rank_min``: over the player's layers the smallest ||A||_F^2 / sigma_1^2, by the largest
      that it can be, min(inputs, outputs): in (0, 1], 1 where all singular values are equal.
    - ``weights/<player>/effective_rank_min``: over layers whose whole spectrum is known the smallest effective rank,
      exp of the entropy of the singular values over their sum (Roy and Vetterli, 2007), by min(inputs, outputs): in
      (0, 1]. That of a square matrix of random numbers is 0.8, and more for other shapes.
    - ``weights/<player>/collapsed``: over the same layers the largest share of singular values below a tenth of the
      first.
    - ``weights/<player>/spectral_collapse``: 1 where ``effective_rank_min`` is below ``collapse``, else 0. Spectral
      collapse is that most singular values of a layer drop against the first ones; it comes with mode collapse (Liu,
      Tang, Zhou and Qiu, 2019). The entropy tells it from a single value that grows, which is
      healthy. Sound networks on digits and rings keep above 0.6, clipped weights fall below 0.05 in a hundred
      iterations. Layers of few directions, 1 / ``collapse`` or fewer, can't be told.
    - ``weights/<player>/lipschitz_upper``: the product of the largest slopes of all modules, which bounds the player's
      Lipschitz constant in eval mode, where the player is a sequence of modules whose slopes are known; else absent
      (class embeddings, residual networks, attention, pooling).
    - ``weights/<player>/lipschitz_lower``: the largest slope that was met: of D the norm of its gradient at real and
      generated rows of the batch and on lines between them, of G the largest singular value of dG/dz at latents.

    The whole spectrum is known of linear layers, and of convolutions on a circle (exact for circular padding, else an
    approximation; see ``gan_modules.dynamics.layer_spectrum``), where the decomposition is cheap, m n min(m, n) up to
    5e8 in all, or ``full`` asks for it. Everything else is of the layer itself, whatever the padding, singular values
    within 1e-4 (relative). ``layers`` keeps it all. A look takes as long as 2 to 8 iterations of 64 rows.

    Args:
        k: how many leading singular values of each layer.
        full: whether to find the whole spectrum of large layers too.
        collapse: share of its full effective rank below which a layer is said to have collapsed, in (0, 1).
        every_n_steps: iterations between two looks; before each validation if None.
        budget: share of the training time that looks may take; no bound if None.

    Raises:
        ValueError: ``k`` below 1, ``collapse`` out of range, or as ``Diagnostic``.
    """

    prefix: ClassVar[str] = "weights"
    guess: ClassVar[float] = 9.0

    def __init__(
        self,
        k: int = 3,
        full: bool = False,
        collapse: float = 0.25,
        every_n_steps: int | None = None,
        budget: float | None = 0.01,
    ) -> None:
        super().__init__(every_n_steps, budget)
        if k < 1:
            raise ValueError(f"WeightSpectrum(k={k}): k must be at least 1.")
        if not 0 < collapse < 1:
            raise ValueError(f"WeightSpectrum(collapse={collapse}): a share of the full effective rank, in (0, 1).")
        self.k, self.full, self.collapse = k, full, collapse
        #: what the latest look found, by layer
        self.layers: dict[str, Layer] = {}
        self._vectors: dict[str, Tensor] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._vectors.clear()

    def look(self, trainer: Trainer, pl_module: Any, batch: Any) -> dict[str, float]:
        """What the weights are now.

        Raises:
            FloatingPointError: a layer's weights are not finite.
        """
        self.layers = {}
        players = pl_module.players
        if not any(isinstance(module, LINEAR_LAYERS) for player in players for module in player.modules()):
            return {}  # a toy game
        for name, player in zip(PLAYER_NAMES, players, strict=True):
            _refuse_non_finite(name, player)
        real, labels = first_draw(batch, pl_module, _ROWS)
        game_batch = pl_module.game_batch(real, labels, iteration=trainer.global_step)
        both = nn.ModuleList(players)
        with evaluating(both), frozen(both), unchanged_buffers(both):
            values = self._values(players, game_batch)
        means = pl_module.all_mean([torch.tensor(value, device=pl_module.device) for value in values.values()])
        return dict(zip(values, map(float, means), strict=True))

    def _values(self, players: tuple[nn.Module, nn.Module], batch: GameBatch) -> dict[str, float]:
        generator, discriminator = players
        fake, values = self._of_player(GENERATOR, generator, batch.z, batch.labels)
        few = None if batch.labels is None else batch.labels[:_SAMPLES]
        slope = measured_slope(partial(call, generator, labels=few), batch.z[:_SAMPLES])
        values["weights/generator/lipschitz_lower"] = slope

        values |= self._of_player(DISCRIMINATOR, discriminator, batch.real, batch.labels)[1]
        share = batch.random.uniform("weight_spectrum", (1,) * (batch.real.ndim - 1)).to(batch.real)
        rows = torch.cat([batch.real, fake, batch.real.lerp(fake, share)])
        thrice = None if batch.labels is None else batch.labels.repeat(3)
        slope = measured_slope(partial(call, discriminator, labels=thrice), rows)
        values["weights/discriminator/lipschitz_lower"] = slope
        return values

    def _of_player(
        self, player: int, network: nn.Module, x: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        """The network's output of ``x``, and what its layers give to log."""
        name = PLAYER_NAMES[player]
        trace = Trace(network)
        with torch.no_grad(), trace.starting_at(x) as ended:
            out = call(network, x, labels)
            ended(out)
        # a layer that no forward reached acts on nothing
        reached = [
            at for at, module in trace.modules.items() if isinstance(module, LINEAR_LAYERS) and at in trace.outputs
        ]
        layers = {at: self._layer(f"{name}.{at}".rstrip("."), trace, at) for at in reached}
        values: dict[str, float] = {}
        for at, layer in layers.items():
            whole = f"{name}.{at}".rstrip(".")
            self.layers[whole] = layer
            for i, value in enumerate(layer.values.tolist()):
                values[f"sigma/{whole}" if i == 0 else f"sigma/{whole}/{i + 1}"] = value
        values |= {f"weights/{name}/{what}": value for what, value in self._summary(list(layers.values())).items()}
        bound = lipschitz_bound(trace, {at: float(layer.values[0]) for at, layer in layers.items()})
        return out, values if bound is None else values | {f"weights/{name}/lipschitz_upper": bound}

    def _layer(self, name: str, trace: Trace, at: str) -> Layer:
        layer, shape = trace.modules[at], trace.inputs[at]
        cheap = self.full or spectrum_operations(layer, shape) <= _MULTIPLICATIONS
        spectrum = layer_spectrum(layer, shape) if cheap else None
        if spectrum is not None and spectrum.exact:
            values = spectrum.values[: self.k]
        else:
            values, self._vectors[name] = leading_singular_values(layer, shape, self.k, start=self._vectors.get(name))
            values = values.cpu().double()
        size = min(prod(shape), prod(trace.outputs[at]))
        largest = float(values[0])
        stable_rank = (frobenius_norm(layer, shape) / largest) ** 2 if largest else 0.0
        return Layer(values, size, stable_rank, spectrum)

    def _summary(self, layers: list[Layer]) -> dict[str, float]:
        if not layers:
            return {}
        values = {"stable_rank_min": min(layer.stable_rank / layer.size for layer in layers)}
        spectra = [layer.spectrum for layer in layers if layer.spectrum is not None]
        if spectra:
            least = min(spectrum.effective_rank / len(spectrum.values) for spectrum in spectra)
            values["effective_rank_min"] = least
            values["collapsed"] = max(spectrum.below(_SMALL) for spectrum in spectra)
            values["spectral_collapse"] = float(least < self.collapse)
        return values


def _refuse_non_finite(name: str, player: nn.Module) -> None:
    for at, parameter in player.named_parameters():
        if not parameter.isfinite().all():
            raise FloatingPointError(
                f"{name}.{at} is not finite, so layers have no singular values: the game has diverged. Lower the "
                "learning rates, or clip gradients (gradient_clip_norm)."
            )
