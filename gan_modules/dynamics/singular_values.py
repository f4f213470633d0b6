"""Leading singular values of a layer as the linear operator that it is."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

#: vectors iterated beyond those asked for: the k-th value converges at the ratio to the first that is left out
_GUARD = 4

#: layers that are a linear map plus a bias
LINEAR_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


def leading_singular_values(
    layer: nn.Module,
    input_shape: Sequence[int],
    k: int = 3,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-4,
    max_iterations: int = 200,
) -> tuple[Tensor, Tensor]:
    """The ``k`` largest singular values of x -> layer(x) - layer(0), by subspace iteration on the layer itself.

    Any stride, padding and transposition is the layer's own: nothing is assumed of the boundary. (The reshaped weight
    that spectral normalisation takes underestimates a convolution's norm; see Sedghi, Gupta and Long, 2019.)

    Args:
        layer: one of LINEAR_LAYERS, in eval mode if it is parametrised.
        input_shape: shape of one input, without the batch dimension.
        k: how many; fewer come back where the layer has fewer inputs or outputs.
        start: the vectors of an earlier call, from which few iterations suffice.
        tolerance: relative change of every value at which the iteration stops.
        max_iterations: bound on the iterations, each one application of the layer and one of its transpose.

    Returns:
        Singular values (k,), descending, NaN where the layer's weights are not finite; and the vectors (at least k,
        *input_shape) to start from next time. In single precision at least.
    """
    shape = tuple(input_shape)
    parameter = next(layer.parameters())
    with torch.no_grad():
        outputs = layer(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)).numel()
    vectors = min(k + _GUARD, prod(shape), outputs)
    if start is None or start.shape != (vectors, *shape):
        generator = torch.Generator().manual_seed(0)
        start = torch.randn(vectors, *shape, generator=generator, dtype=torch.float64)
    # factorisations want at least single precision, whatever the layer computes in
    precision = torch.promote_types(parameter.dtype, torch.float32)
    basis = _orthonormal(start.to(parameter.device, precision))
    values = torch.zeros(len(basis), device=parameter.device, dtype=precision)
    for _ in range(max_iterations):
        before = values
        image = _transpose_of_image(layer, basis.to(parameter.dtype)).to(precision)  # A^T A v, one row a vector
        if not image.isfinite().all():
            return torch.full_like(values[:k], torch.nan), basis
        # Rayleigh-Ritz: the eigenvalues of V (A^T A) V^T are the squared singular values on span(V)
        squares, rotation = torch.linalg.eigh(basis.flatten(1) @ image.flatten(1).T)
        values = squares.clamp_min(0).sqrt().flip(0)
        basis = _orthonormal((rotation.T.flip(0) @ image.flatten(1)).view_as(basis))
        if torch.allclose(values[:k], before[:k], rtol=tolerance, atol=1e-12):
            break
    return values[:k], basis


def _transpose_of_image(layer: nn.Module, x: Tensor) -> Tensor:
    """A^T A x for every row of ``x``; the transpose is the layer's vector-Jacobian product."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        zero = torch.zeros_like(x[:1])
        y = layer(x) - layer(zero)
        (image,) = torch.autograd.grad(y, x, y.detach())
    detached: Tensor = image.detach()
    return detached


def _orthonormal(x: Tensor) -> Tensor:
    q: Tensor = torch.linalg.qr(x.flatten(1).T).Q
    return q.T.reshape_as(x)
