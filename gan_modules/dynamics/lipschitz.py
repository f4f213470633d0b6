"""How much a network can stretch: an upper bound from its layers, and a lower one from its slope at samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from gan_modules.dynamics.singular_values import LINEAR_LAYERS
from gan_modules.networks.activations import MaxMin

#: largest slopes of modules that act on numbers one by one, or move them; the last two rounded up
_CONSTANTS: dict[type[nn.Module], float] = {
    **dict.fromkeys((nn.PixelShuffle, nn.PixelUnshuffle, MaxMin), 1.0),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Softsign, nn.Softplus, nn.LogSigmoid), 1.0),
    nn.Sigmoid: 0.25,
    nn.SiLU: 1.0999,
    nn.GELU: 1.1290,
}
_STEP = 1e-2  # of a difference, in the direction of a unit vector


class Trace:
    """In which order the smallest modules of a network act in one forward, and on what.

    Attributes:
        inputs: shape of the first input of each module that was reached, by name, without the batch dimension.
        outputs: the same of its output.
        order: names in the order of their calls, as often as they were called, but for calls that changed no number.
        sequential: whether each module's input was the output of the one before, but for its shape, from the network's
            input to its output.
    """

    def __init__(self, network: nn.Module) -> None:
        self.modules = dict(_smallest(network))
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: dict[str, tuple[int, ...]] = {}
        self.order: list[str] = []
        self.sequential = True
        self._at: tuple[Tensor, int] | None = None

    @contextmanager
    def starting_at(self, x: Tensor) -> Iterator[Callable[[Tensor], None]]:
        """Follow the forward within, of ``x``; what is yielded is to be given its result."""
        self._arrive(x)
        hooks = [module.register_forward_pre_hook(partial(self._before, name)) for name, module in self.modules.items()]
        hooks += [module.register_forward_hook(partial(self._after, name)) for name, module in self.modules.items()]
        try:
            yield self._expect
        finally:
            for hook in hooks:
                hook.remove()
            self._at = None

    def _before(self, name: str, module: nn.Module, inputs: Any) -> None:
        if not inputs or not isinstance(inputs[0], Tensor):
            self.sequential = False
            return
        self._expect(inputs[0])
        self.sequential &= not any(isinstance(other, Tensor) for other in inputs[1:])
        self.inputs.setdefault(name, tuple(inputs[0].shape[1:]))

    def _after(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            self.sequential = False
            return
        self.outputs.setdefault(name, tuple(output.shape[1:]))
        if not self._is_there(output):  # else it did nothing, or gave another shape
            self.order.append(name)
        self._arrive(output)

    def _arrive(self, x: Tensor) -> None:
        self._at = x, x._version  # kept, so that its memory is not given to another

    def _expect(self, x: Tensor) -> None:
        self.sequential &= self._is_there(x)

    def _is_there(self, x: Tensor) -> bool:
        """Whether these are the numbers of where we are: in the same memory, and not written to since."""
        assert self._at is not None
        before, version = self._at
        same = x.untyped_storage().data_ptr() == before.untyped_storage().data_ptr() and x.numel() == before.numel()
        return same and x._version == version


def lipschitz_bound(trace: Trace, norms: Mapping[str, float]) -> float | None:
    """The product of the largest slopes of a network's modules in eval mode: no smaller than its Lipschitz constant.

    It assumes that the network is the composition of its modules, one after the other, and that each one's largest
    slope is known: that of linear layers and convolutions is their largest singular value, that of batch normalisation
    its largest factor. None where that is not so: branches, sums and class embeddings beside the modules, attention,
    normalisation within a row, pooling. The bound is loose, for the directions that layers stretch most do not meet.

    Args:
        trace: of one forward.
        norms: largest singular values, by the names of the trace.
    """
    if not trace.sequential:
        return None
    slopes = [norms.get(name, _largest_slope_of(trace.modules[name])) for name in trace.order]
    known = [slope for slope in slopes if slope is not None]
    return prod(known) if len(known) == len(slopes) else None


def measured_slope(network: Callable[[Tensor], Tensor], x: Tensor, iterations: int = 8) -> float:
    """The largest singular value of the network's Jacobian at the rows of ``x``, from below.

    For one output a row it is the largest norm of the gradient. For several, power iteration: u -> J^T u is exact, and
    only the next u, J v, is taken from a difference, so that no second derivative is needed and |J^T u| / |u| is a
    lower bound on the Lipschitz constant at any time.

    Args:
        network: maps (B, *shape) to (B / k, ...), each row of which depends on k rows of the input alone.
        x: the rows (B, *shape).
        iterations: of the power iteration.

    Returns:
        The largest over rows; NaN where the network does not depend on ``x`` by a differentiable way.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        out = network(x)
        out = out.reshape(len(out), -1)
    if not out.requires_grad:
        return float("nan")
    if out.shape[1] == 1:
        iterations = 1
    u = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
    smallest = torch.finfo(out.dtype).tiny
    for iteration in range(iterations):
        u = u / u.norm(dim=1, keepdim=True).clamp_min(smallest)
        (gradient,) = torch.autograd.grad(out, x, u, retain_graph=iteration + 1 < iterations)
        gradient = gradient.reshape(len(out), -1)
        slopes = gradient.norm(dim=1, keepdim=True)
        if iteration + 1 < iterations:
            step = _STEP * (gradient / slopes.clamp_min(smallest)).view_as(x)
            with torch.no_grad():
                u = (network(x + step) - network(x - step)).reshape(out.shape)
    return float(slopes.max())


def _largest_slope_of(module: nn.Module) -> float | None:
    """The Lipschitz constant of a module without a matrix, in eval mode; None where it is not known."""
    if isinstance(module, nn.LeakyReLU):
        return max(1.0, abs(module.negative_slope))
    if isinstance(module, nn.ELU):
        return max(1.0, abs(module.alpha))
    if isinstance(module, _DropoutNd):
        return 1.0
    if isinstance(module, _BatchNorm) and module.running_var is not None:
        factor = (module.running_var + module.eps).rsqrt()
        return float((factor if module.weight is None else factor * module.weight.detach()).abs().max())
    return _CONSTANTS.get(type(module))


def _smallest(module: nn.Module, name: str = "", seen: set[nn.Module] | None = None) -> Iterator[tuple[str, nn.Module]]:
    """Linear and convolution layers whole, whatever parametrises them, and modules without children."""
    seen = set() if seen is None else seen
    if module in seen:
        return
    seen.add(module)
    children = dict(module.named_children())
    if isinstance(module, LINEAR_LAYERS) or not children:
        yield name, module
        return
    for child, part in children.items():
        yield from _smallest(part, f"{name}.{child}".lstrip("."), seen)
