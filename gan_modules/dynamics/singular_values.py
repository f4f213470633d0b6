"""Leading singular values of a layer as the linear operator that it is."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

#: vectors beyond those asked for in a block: as many more equal values are told apart from the next
_GUARD = 2
#: of so many blocks the best is kept, and the iteration starts again from it
_BLOCKS = 8

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
    """The ``k`` largest singular values of x -> layer(x) - layer(0), by a block Krylov method on the layer itself.

    Any stride, padding and transposition is the layer's own: nothing is assumed of the boundary. (The reshaped weight
    that spectral normalisation takes underestimates a convolution's norm; see Sedghi, Gupta and Long, 2019.) Values are
    those of Rayleigh and Ritz on a space that grows by its residuals (Lanczos' with restarts), so never above the true
    ones but for rounding. It stops where the residuals r = A^T A v - s^2 v bound the error: a squared singular value is
    within |r| of s^2.

    Args:
        layer: one of LINEAR_LAYERS, in eval mode if it is parametrised.
        input_shape: shape of one input, without the batch dimension.
        k: how many; fewer come back where the layer has fewer inputs or outputs.
        start: the vectors of an earlier call, from which few iterations suffice.
        tolerance: bound on the relative error of every value.
        max_iterations: bound on the iterations, each one application of the layer to k + 2 inputs and one of its
            transpose.

    Returns:
        Singular values (k,), descending, NaN where the layer's weights are not finite; and the vectors (at least k,
        *input_shape) to start from next time. In single precision at least.
    """
    shape = tuple(input_shape)
    parameter = next(layer.parameters())
    with torch.no_grad():
        outputs = layer(torch.zeros(1, *shape, device=parameter.device, dtype=parameter.dtype)).numel()
    limit = min(prod(shape), outputs)
    k, count = min(k, limit), min(k + _GUARD, limit)
    # factorisations want at least single precision, whatever the layer computes in
    precision = torch.promote_types(parameter.dtype, torch.float32)
    rounding = 10 * torch.finfo(precision).eps

    def images(rows: Tensor) -> Tensor:
        """A^T A v, one row a vector."""
        return _transpose_of_image(layer, rows.view(-1, *shape).to(parameter.dtype)).flatten(1).to(precision)

    basis = _orthonormal(_start(start, count, shape).to(parameter.device, precision))
    image = images(basis)
    for iteration in range(max_iterations):
        if not image.isfinite().all():
            return image.new_full((k,), torch.nan), basis[:count].view(-1, *shape)
        # the eigenvalues of V (A^T A) V^T are the squared singular values on span(V)
        squares, rotation = torch.linalg.eigh(basis @ image.T)
        squares, rotation = squares.flip(0).clamp_min(0), rotation.flip(1).T
        basis, image = rotation @ basis, rotation @ image
        residual = image[:count] - squares[:count, None] * basis[:count]
        # s - sigma = (s^2 - sigma^2) / (s + sigma), about half of |r| / s
        bound = 2 * tolerance * squares[:k] + rounding * squares[0]
        grown = iteration > 1 or len(basis) == prod(shape)  # the new vector of a start has had its say
        if grown and (residual.norm(dim=1)[:k] <= bound).all():
            break
        if len(basis) >= _BLOCKS * count:
            basis, image = basis[:count], image[:count]
        residual = residual[: prod(shape) - len(basis)]
        if len(residual):
            for _ in range(2):  # twice is enough
                residual = _orthonormal(residual - residual @ basis.T @ basis)
            basis, image = torch.cat([basis, residual]), torch.cat([image, images(residual)])
    return squares[:k].sqrt(), _orthonormal(basis[:count]).view(-1, *shape)


def _start(given: Tensor | None, count: int, shape: tuple[int, ...]) -> Tensor:
    """``count`` rows; the last is random in any case, for the others may lack what has become the leading direction."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    if given is not None and given.shape == start.shape:
        start[:-1] = given[:-1].to(start)
    return start.flatten(1)


def _transpose_of_image(layer: nn.Module, x: Tensor) -> Tensor:
    """A^T A x for every row of ``x``; the transpose is the layer's vector-Jacobian product."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.clone().requires_grad_()
        zero = torch.zeros_like(x[:1])
        y = layer(x) - layer(zero)
        (image,) = torch.autograd.grad(y, x, y.detach())
    detached: Tensor = image.detach()
    return detached


def _orthonormal(rows: Tensor) -> Tensor:
    q: Tensor = torch.linalg.qr(rows.T).Q
    return q.T
