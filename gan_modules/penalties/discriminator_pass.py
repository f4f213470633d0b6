"""The discriminator evaluated once on a batch, for the loss and for every penalty."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_modules.batch import GameBatch


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether rows of a batch see each other in ``module``, so that real and fake rows must not share a forward.

    True for every batch normalisation; a module of one's own says so by an attribute ``batch_statistics = True``.
    """
    return any(isinstance(m, _BatchNorm) or getattr(m, "batch_statistics", False) for m in module.modules())


def call(network: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    """``network(x)``, or ``network(x, labels)`` where the batch carries the classes that condition it."""
    out: Tensor = network(x) if labels is None else network(x, labels)
    return out


class DiscriminatorPass:
    """D on the real and fake rows of a batch: logits on demand, and D's gradient with respect to its input.

    Real and fake rows go through D together where its rows are independent. ``gradient_at`` names the rows ("real",
    "fake") whose input gradient penalties will ask for, so that the forward made for the loss serves them too. Under
    autocast input gradients take a forward of their own in float32.

    Args:
        discriminator: maps (B, *shape), and labels if conditional, to logits (B, ...).
        batch: gives real rows, labels (None for an unconditional discriminator) and random numbers.
        fake: G(z), with or without its graph; nothing here detaches it.
        gradient_at: rows whose input gradient will be asked for.
    """

    def __init__(
        self, discriminator: nn.Module, batch: GameBatch, fake: Tensor, gradient_at: frozenset[str] = frozenset()
    ) -> None:
        self.discriminator = discriminator
        self.batch = batch
        self._float32 = torch.is_autocast_enabled(batch.real.device.type)
        self._gradient_at = frozenset() if self._float32 else gradient_at
        self.real = _differentiable(batch.real) if "real" in self._gradient_at else batch.real
        self.fake = _differentiable(fake) if "fake" in self._gradient_at else fake

    @cached_property
    def _logits(self) -> tuple[Tensor, Tensor]:
        labels = self.batch.labels
        # an input gradient at one half only would be propagated through both halves of a joint pass
        if has_batch_statistics(self.discriminator) or len(self._gradient_at) == 1:
            return call(self.discriminator, self.real, labels), call(self.discriminator, self.fake, labels)
        rows = torch.cat([self.real, self.fake])
        logits = call(self.discriminator, rows, None if labels is None else labels.repeat(2))
        return logits[: len(self.real)], logits[len(self.real) :]

    @property
    def real_logits(self) -> Tensor:
        return self._logits[0]

    @property
    def fake_logits(self) -> Tensor:
        return self._logits[1]

    @cached_property
    def _shared_gradients(self) -> dict[str, Tensor]:
        points = {"real": (self.real, self.real_logits), "fake": (self.fake, self.fake_logits)}
        asked = [points[name] for name in sorted(self._gradient_at)]
        # rows are independent, so the gradient of the sum holds every row's own gradient
        total = torch.stack([logits.sum() for _, logits in asked]).sum()
        gradients = torch.autograd.grad(total, [x for x, _ in asked], create_graph=True)
        return dict(zip(sorted(self._gradient_at), gradients, strict=True))

    def gradient(self, rows: str) -> Tensor:
        """D's input gradient at the "real" or "fake" rows, shape (B, *shape), differentiable."""
        if rows in self._gradient_at:
            return self._shared_gradients[rows]
        return self.gradient_of(self.real if rows == "real" else self.fake)

    def gradient_of(self, x: Tensor) -> Tensor:
        """D's input gradient at ``x`` of shape (B, *shape), by a forward of its own in float32; differentiable."""
        with torch.autocast(x.device.type, enabled=False):
            x = _differentiable(x.float() if self._float32 else x)
            logits = call(self.discriminator, x, self.batch.labels)
            (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gradient


def _differentiable(x: Tensor) -> Tensor:
    """``x`` itself where it has a graph, which a game Jacobian differentiates; else a leaf that requires a gradient."""
    return x if x.requires_grad else x.detach().requires_grad_()
