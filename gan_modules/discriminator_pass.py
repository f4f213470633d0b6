"""The discriminator evaluated once on a batch, for the loss and for every penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_modules.batch import GameBatch, joined

#: tensors that a term or an augmentation keeps from one draw to the next, by name
Memory = dict[str, Tensor]
#: the layer that stands for the features of which the logit is a linear function: the input of D's last layer
PENULTIMATE = "penultimate"


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether rows of a batch see each other in ``module``, so that real and fake rows must not share a forward.

    True for every batch normalisation; a module of one's own says so by an attribute ``batch_statistics = True``.
    """
    return any(isinstance(m, _BatchNorm) or getattr(m, "batch_statistics", False) for m in module.modules())


def rows_per_logit(discriminator: nn.Module) -> int:
    """How many consecutive rows share a logit: an attribute of packing discriminators, else 1."""
    return int(getattr(discriminator, "rows_per_logit", 1))


def call(network: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """``network(x)``, or ``network(x, labels)`` where the batch carries the classes that condition it."""
    out: Tensor = network(x) if labels is None else network(x, labels)
    return out


def check_layers(discriminator: nn.Module, layers: Sequence[str]) -> None:
    """Raise ValueError for the name of a layer that the discriminator does not have, listing those it has."""
    known = [name for name, _ in discriminator.named_modules() if name]
    for layer in layers:
        if layer not in known and layer != PENULTIMATE:
            raise ValueError(
                f"The discriminator {type(discriminator).__name__} has no layer {layer!r}; it has "
                f"{', '.join(known)}, and {PENULTIMATE!r} for the input of its last layer."
            )


def mean_over_rows(values: Tensor) -> Tensor:
    """The mean over the rows of all processes, shape (*shape) from (B, *shape), in float32 at least."""
    wide = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
    return joined(wide.mean(0, keepdim=True)).mean(0)


@dataclass(frozen=True)
class Logits:
    """Logits alone, for who wants the value of a loss on logits without a discriminator."""

    real_logits: Tensor
    fake_logits: Tensor
    mean = staticmethod(mean_over_rows)


@dataclass(frozen=True)
class _Evaluated:
    logits: Tensor
    features: Mapping[str, Tensor]


class DiscriminatorPass:
    """D on the real and fake rows of a batch: logits and features on demand, and D's gradient in its input.

    Real and fake rows go through D together where its rows are independent. ``gradient_at`` names the rows ("real",
    "fake") whose input gradient penalties will ask for, so that the forward made for the loss serves them too; nothing
    that nobody asks for is computed. Under autocast input gradients take a forward of their own in float32.

    Args:
        discriminator: maps (B, *shape), and labels if conditional, to logits (B / k, ...), k = ``rows_per_logit``.
        batch: gives labels (None for an unconditional discriminator) and random numbers.
        real: what D sees of the real rows, (B, *shape).
        fake: what D sees of G(z), with or without its graph; nothing here detaches it.
        gradient_at: rows whose input gradient will be asked for.
        layers: names of D's layers whose outputs will be asked for.
        witness: the critic whose gradient penalties bound, from logits at some points and this pass; the logit if None.
        joint: whether real and fake rows may share a forward.

    Attributes:
        memory: what the term that is being evaluated remembers.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        batch: GameBatch,
        real: Tensor,
        fake: Tensor,
        *,
        gradient_at: frozenset[str] = frozenset(),
        layers: Sequence[str] = (),
        witness: Callable[[Tensor, DiscriminatorPass], Tensor] | None = None,
        joint: bool = True,
    ) -> None:
        self.discriminator = discriminator
        self.batch = batch
        self.memory: Memory = {}
        self._float32 = torch.is_autocast_enabled(real.device.type)
        self._gradient_at = frozenset() if self._float32 or witness is not None else gradient_at
        self.real = _differentiable(real) if "real" in self._gradient_at else real
        self.fake = _differentiable(fake) if "fake" in self._gradient_at else fake
        self._layers = tuple(dict.fromkeys(layers))
        self._witness = witness
        # an input gradient at one half only would be propagated through both halves of a joint pass
        self._joint = (
            joint and len(real) == len(fake) and not has_batch_statistics(discriminator) and len(self._gradient_at) != 1
        )
        self._evaluated: dict[str, _Evaluated] = {}
        self._own_gradients: dict[str, Tensor] = {}
        k = rows_per_logit(discriminator)
        if len(real) % k or len(fake) % k:
            raise ValueError(
                f"{type(discriminator).__name__} judges {k} rows at a time, and the batch has {len(real)}: make the "
                f"batch size of each process a multiple of {k}."
            )

    # --- logits and features --------------------------------------------------------------------------------------

    @property
    def real_logits(self) -> Tensor:
        return self._at("real").logits

    @property
    def fake_logits(self) -> Tensor:
        return self._at("fake").logits

    def features(self, rows: str, layer: str) -> Tensor:
        """What a layer puts out at the "real" or "fake" rows, (B, ...), in float32 under autocast."""
        found = self._at(rows).features
        if layer not in found:
            raise KeyError(f"features({rows!r}, {layer!r}): the term must name the layer in its `layers`.")
        return found[layer]

    mean = staticmethod(mean_over_rows)

    def _at(self, rows: str) -> _Evaluated:
        if rows not in self._evaluated:
            labels = self.batch.labels
            if self._joint:
                both = self._forward(
                    torch.cat([self.real, self.fake]), None if labels is None else torch.cat([labels, labels])
                )
                self._evaluated = {"real": _half(both, 0), "fake": _half(both, 1)}
            else:
                self._evaluated[rows] = self._forward(self.real if rows == "real" else self.fake, labels)
        return self._evaluated[rows]

    def _forward(self, x: Tensor, labels: Tensor | None) -> _Evaluated:
        with _captured(self.discriminator, self._layers) as features:
            logits = call(self.discriminator, x, labels)
        # under autocast networks put out half precision, in which means and squares would be lost
        return _Evaluated(self._wide(logits), {name: self._wide(value) for name, value in features.items()})

    def _wide(self, values: Tensor) -> Tensor:
        return values.float() if self._float32 else values

    # --- input gradients --------------------------------------------------------------------------------------------

    @cached_property
    def _shared_gradients(self) -> dict[str, Tensor]:
        points = {"real": (self.real, self.real_logits), "fake": (self.fake, self.fake_logits)}
        asked = [points[name] for name in sorted(self._gradient_at)]
        # rows are independent, so the gradient of the sum holds every row's own gradient
        total = torch.stack([logits.sum() for _, logits in asked]).sum()
        gradients = torch.autograd.grad(total, [x for x, _ in asked], create_graph=True)
        return {
            name: gradient.reshape(len(logits), -1)
            for name, gradient, (_, logits) in zip(sorted(self._gradient_at), gradients, asked, strict=True)
        }

    def gradient(self, rows: str) -> Tensor:
        """D's input gradient at the "real" or "fake" rows, as ``gradient_of``; asking twice takes it once."""
        if rows in self._gradient_at:
            return self._shared_gradients[rows]
        if rows not in self._own_gradients:
            self._own_gradients[rows] = self.gradient_of(self.real if rows == "real" else self.fake)
        return self._own_gradients[rows]

    def gradient_of(self, x: Tensor) -> Tensor:
        """D's input gradient at ``x`` of shape (B, *shape), by a forward of its own in float32; differentiable.

        Returns:
            The gradient of each logit in the rows it is a function of, flat: (B / k, k * size), k = ``rows_per_logit``.
        """
        with torch.autocast(x.device.type, enabled=False), torch.enable_grad():
            # a node of its own: a witness may depend on the rows of this pass as well, which are other arguments
            x = _differentiable(x.float() if self._float32 else x).view_as(x)
            logits = call(self.discriminator, x, self.batch.labels)
            values = logits if self._witness is None else self._witness(logits, self)
            (gradient,) = torch.autograd.grad(values.sum(), x, create_graph=True)
        return gradient.reshape(len(logits), -1)


def _differentiable(x: Tensor) -> Tensor:
    """``x`` itself where it has a graph, which a game Jacobian differentiates; else a leaf that requires a gradient."""
    return x if x.requires_grad else x.detach().requires_grad_()


def _half(both: _Evaluated, index: int) -> _Evaluated:
    # chunk, for with k rows a logit there are fewer logits than rows
    return _Evaluated(both.logits.chunk(2)[index], {name: f.chunk(2)[index] for name, f in both.features.items()})


@contextmanager
def _captured(discriminator: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """What the named layers put out in the forwards within."""
    found: dict[str, Tensor] = {}

    def keep(name: str, tensor: Any) -> None:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"The discriminator's layer {name!r} gives a {type(tensor).__name__}: name one of tensors.")
        found[name] = tensor

    modules = dict(discriminator.named_modules()) if layers else {}  # nobody asks for features in most passes
    hooks = []
    for name in layers:
        if name in modules and name:
            hooks.append(modules[name].register_forward_hook(partial(_keep_output, keep, name)))
        else:
            hooks.append(_last_layer(discriminator).register_forward_pre_hook(partial(_keep_input, keep, name)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _keep_output(keep: Callable[[str, Any], None], name: str, module: nn.Module, inputs: Any, output: Any) -> None:
    keep(name, output.clone() if isinstance(output, Tensor) else output)  # the next layer may work in place


def _keep_input(keep: Callable[[str, Any], None], name: str, module: nn.Module, inputs: Any) -> None:
    keep(name, inputs[0])


def _last_layer(discriminator: nn.Module) -> nn.Module:
    linear = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    found = [module for module in discriminator.modules() if isinstance(module, linear)]
    if not found:
        raise ValueError(
            f"The discriminator {type(discriminator).__name__} has no linear or convolutional layer whose input could "
            f"be its {PENULTIMATE} features: name a layer."
        )
    return found[-1]
