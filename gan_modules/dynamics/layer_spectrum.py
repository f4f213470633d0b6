"""The whole spectrum of a layer as the linear operator that it is, and numbers that sum it up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt

import torch
from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@dataclass(frozen=True)
class LayerSpectrum:
    """All singular values of a layer.

    Attributes:
        values: float64 on the CPU, descending.
        exact: whether they are those of the layer itself; else of the layer on a circle (see ``layer_spectrum``).
    """

    values: Tensor
    exact: bool

    @property
    def effective_rank(self) -> float:
        """Exp of the entropy of values / sum of values (Roy and Vetterli, 2007): 1 to their number, 0 for zeros."""
        if not self.values.any():
            return 0.0
        p = self.values / self.values.sum()
        return float(torch.special.entr(p).sum().exp())

    def below(self, share: float) -> float:
        """The share of values below ``share`` times the largest."""
        return float((self.values < share * self.values[0]).double().mean())


def layer_spectrum(layer: nn.Module, input_shape: Sequence[int]) -> LayerSpectrum:
    """All singular values of x -> layer(x) - layer(0) for a linear or convolution layer.

    A linear layer's are those of its weight, once for each row of an input. A convolution on a circle is diagonal in
    frequency but for its channels, so its values are those of one matrix of channels a frequency (Sedghi, Gupta and
    Long, 2019); where it strides, of one a frequency of the coarse grid, in which all frequencies meet that it aliases.
    That is exact for circular padding, and where no tap of the kernel reaches into padding, such as patches; with other
    padding it is an approximation, the better the smaller the kernel is against the image. Where the stride does not
    divide the size, the circle is of stride x (size of the coarse grid). A transposed convolution is the adjoint of a
    convolution and has its values; groups are blocks.

    Args:
        layer: a linear or convolution layer, in eval mode if it is parametrised.
        input_shape: shape of one input, without the batch dimension.

    Raises:
        TypeError: another layer.
    """
    if isinstance(layer, nn.Linear):
        rows = prod(input_shape[:-1])
        return LayerSpectrum(torch.linalg.svdvals(_weight(layer)).repeat_interleave(rows), exact=True)
    convolution = _Convolution(layer, input_shape)
    values = torch.linalg.svdvals(convolution.blocks)
    # a real kernel has the same values at opposite frequencies, of which the last axis holds one each
    size, half = convolution.coarse[-1], values.shape[-2]
    times = torch.tensor([1 if 2 * f in (0, size) else 2 for f in range(half)])
    values = values.repeat_interleave(times, dim=-2).flatten().sort(descending=True).values
    return LayerSpectrum(values, exact=convolution.on_a_circle)


def spectrum_operations(layer: nn.Module, input_shape: Sequence[int]) -> float:
    """About how many multiplications ``layer_spectrum`` takes, but for a constant: m n min(m, n) for each matrix."""
    if isinstance(layer, nn.Linear):
        m, n = layer.out_features, layer.in_features
        return float(m * n * min(m, n))
    convolution = _Convolution(layer, input_shape)
    m, n = convolution.weight.shape[1], convolution.weight.shape[2] * prod(convolution.stride)
    return (
        2.0 * convolution.weight.shape[0] * prod(convolution.coarse) * m * n * min(m, n)
    )  # half of them, in complex numbers


def frobenius_norm(layer: nn.Module, input_shape: Sequence[int]) -> float:
    """The root of the sum of all squared singular values: exact, whatever the padding, at next to no cost.

    The sum of the squares of a convolution's matrix is that over channels of w^T (M_1 x M_2 ...) w, w the taps of a
    kernel and M_d[s, t] the number of outputs along an axis whose taps s and t read the same input. Without padding, or
    with zeros, the M_d are diagonal; with the other modes two taps may read one input, and their weights add up.

    Raises:
        TypeError: neither a linear nor a convolution layer.
    """
    if isinstance(layer, nn.Linear):
        return float(_weight(layer).norm()) * sqrt(prod(input_shape[:-1]))
    convolution = _Convolution(layer, input_shape)
    image: Tensor = convolution.weight
    for axis in range(len(convolution.coarse)):
        image = torch.tensordot(image, convolution.same_input(axis), dims=([3], [0]))  # the axis done moves to the end
    return sqrt((image * convolution.weight).sum().clamp(min=0))


class _Convolution:
    """A convolution from a fine grid to a coarse one; a transposed one is the adjoint of it, and acts the other way.

    Attributes:
        weight: (groups, outputs, inputs, *kernel) float64 on the CPU, of each group's channels.
        fine: size of the grid that the kernel reads.
        coarse: size of the grid of its results.
    """

    def __init__(self, layer: nn.Module, input_shape: Sequence[int]) -> None:
        if not isinstance(layer, _CONVOLUTIONS):
            raise TypeError(
                f"{type(layer).__name__} is neither a linear nor a convolution layer, whose spectrum is known: ask for "
                "layers of gan_modules.dynamics.LINEAR_LAYERS."
            )
        weight = _weight(layer)
        self.weight = weight.view(layer.groups, -1, *weight.shape[1:])
        self.stride, self.dilation, self.mode = layer.stride, layer.dilation, layer.padding_mode
        reach = [d * (k - 1) for d, k in zip(self.dilation, weight.shape[2:], strict=True)]
        if isinstance(layer.padding, str):
            self.padding = [r // 2 if layer.padding == "same" else 0 for r in reach]
        else:
            self.padding = list(layer.padding)
        with torch.no_grad():
            output = layer(torch.zeros(1, *input_shape, device=layer.weight.device, dtype=layer.weight.dtype))
        here: tuple[int, ...] = tuple(input_shape[1:])
        there: tuple[int, ...] = tuple(output.shape[2:])
        transposed = isinstance(layer, _TRANSPOSED)
        self.fine: tuple[int, ...] = there if transposed else here
        self.coarse: tuple[int, ...] = here if transposed else there

    def reads(self, axis: int) -> Tensor:
        """Which place of the fine grid each output reads by each tap, (outputs, taps); in padding outside the grid."""
        places = torch.arange(self.coarse[axis])[:, None] * self.stride[axis]
        taps = torch.arange(self.weight.shape[3 + axis]) * self.dilation[axis] - self.padding[axis]
        return places + taps

    def same_input(self, axis: int) -> Tensor:
        """The number of outputs whose taps s and t read the same input, (taps, taps) float64."""
        reads, size = self.reads(axis), self.fine[axis]
        if self.mode == "circular":
            reads = reads % size
        elif self.mode == "replicate":
            reads = reads.clamp(0, size - 1)
        elif self.mode == "reflect":
            reads = (size - 1) - ((size - 1) - reads.abs()).abs()
        within = (reads >= 0) & (reads < size)  # zeros are no input
        return ((reads[:, :, None] == reads[:, None, :]) & within[:, :, None]).sum(0).double()

    @property
    def on_a_circle(self) -> bool:
        """Whether the layer is what it is on a circle of stride x coarse."""
        for axis, (fine, coarse, stride) in enumerate(zip(self.fine, self.coarse, self.stride, strict=True)):
            reads = self.reads(axis)
            within = bool(((reads >= 0) & (reads < fine)).all())
            if stride * coarse != fine or not (within or self.mode == "circular"):
                return False
        return True

    @cached_property
    def blocks(self) -> Tensor:
        """The matrix of each group and frequency of the coarse grid, (groups, *frequencies, outputs, inputs x aliases).

        Of the last axis only frequencies from 0 to a half.
        """
        image = self.weight.to(torch.complex128)
        axes = len(self.coarse)
        for axis, (coarse, stride) in enumerate(zip(self.coarse, self.stride, strict=True)):
            size = coarse * stride
            taps = torch.arange(self.weight.shape[3 + axis], dtype=torch.float64) * self.dilation[axis]
            phases = torch.polar(
                torch.ones(1, 1, dtype=torch.float64), -2 * torch.pi / size * taps[:, None] * torch.arange(size)
            )
            image = torch.tensordot(image, phases, dims=([3], [0]))
        for axis in reversed(range(axes)):  # frequency f of the coarse grid is f, f + coarse, ... of the fine one
            image = image.view(*image.shape[: 3 + axis], self.stride[axis], self.coarse[axis], *image.shape[4 + axis :])
        image = image[..., : self.coarse[-1] // 2 + 1]
        aliases, frequencies = range(3, 3 + 2 * axes, 2), range(4, 4 + 2 * axes, 2)
        matrices: Tensor = image.permute(0, *frequencies, 1, 2, *aliases).flatten(2 + axes)
        return matrices / sqrt(prod(self.stride))  # from unitary transforms of both grids


def _weight(layer: nn.Module) -> Tensor:
    """The weight as it acts, in float64 on the CPU, which has it and where decompositions are reliable."""
    weight: Tensor = layer.weight.detach()  # type: ignore[operator]
    return weight.cpu().double()
