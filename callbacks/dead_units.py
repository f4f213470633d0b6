"""Units of a network that learn nothing and change nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gan_modules.batch import key
from gan_modules.dynamics import LINEAR_LAYERS

Outputs = list[tuple[nn.Module, Tensor]]


def dead_units(network: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Sequence[Tensor]) -> float | None:
    """Share of hidden units through which no gradient passes on any row; None where no layer is hidden.

    A unit is an output of a linear layer or a channel of a convolution, the last layer's left out. It is dead where the
    derivative of a random combination of the network's outputs in it is exactly zero, whatever the activation behind it
    and however that is called: a ReLU that is never active, a sigmoid that is saturated past the last digit. One of
    LeakyReLU never is.

    Args:
        network: in the mode in which it is meant.
        forward: the network's outputs, from rows.
        inputs: rows of one or of several kinds.
    """
    alive: dict[nn.Module, Tensor] = {}
    last: nn.Module | None = None
    with _outputs_kept(network) as outputs:
        for rows in inputs:
            outputs.clear()
            value = _combination(forward(rows.detach().requires_grad_()))
            for layer, passes in _passing(value, outputs):
                alive[layer] = alive.get(layer, torch.zeros_like(passes)) | passes
            last = outputs[-1][0] if outputs else None
    hidden = [passes for layer, passes in alive.items() if layer is not last]
    return 1 - float(torch.cat(hidden).float().mean()) if hidden else None


@contextmanager
def _outputs_kept(network: nn.Module) -> Iterator[Outputs]:
    outputs: Outputs = []

    def keep(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        outputs.append((layer, output))
        return output.clone()  # the next layer may work in place

    hooks = [m.register_forward_hook(keep) for m in network.modules() if isinstance(m, LINEAR_LAYERS)]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def _combination(out: Tensor) -> Tensor:
    # of random weights: the sum of a batch normalisation's outputs has no derivative
    numbers = torch.randn(out.shape, generator=torch.Generator().manual_seed(key("dead units")))
    return (out * numbers.to(out)).sum()


def _passing(value: Tensor, outputs: Outputs) -> Iterator[tuple[nn.Module, Tensor]]:
    """Whether anything passes through each unit of each layer, (units,) bool."""
    reached = [(layer, x) for layer, x in outputs if x.requires_grad]
    if not reached or not value.requires_grad:
        return
    gradients = torch.autograd.grad(value, [x for _, x in reached], allow_unused=True)
    for (layer, x), gradient in zip(reached, gradients, strict=True):
        # (B, ..., F) of a linear layer, (B, C, ...) of a convolution
        axis = -1 if isinstance(layer, nn.Linear) else 1
        gradient = torch.zeros_like(x) if gradient is None else gradient
        yield layer, gradient.movedim(axis, 0).flatten(1).ne(0).any(1)
