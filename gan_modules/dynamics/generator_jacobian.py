"""How a generator stretches its latents: singular values of dG/dz at samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gan_modules.dynamics.jacobian import _explained, _refuse_once_differentiable

#: bytes of Jacobians that are held at a time
_CHUNK_BYTES = 2**28


def generator_singular_values(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Singular values of dG/dz at each latent, descending, shape (B, min(latent_dim, size of a sample)), float64.

    They are the factors by which G stretches a small ball of latents: where all but a few are near zero G maps it to
    nearly a point or a sheet, a collapse that is local (Odena et al., 2018, who watch the ratio of the largest to the
    smallest). Jacobians are dense, one product for each latent coordinate, by differentiating a vector-Jacobian product
    in its vector, with autocast off and attention in its twice differentiable form.

    Args:
        generator: maps z, and labels if conditional, to samples; rows must not see each other, so in eval mode where
            there is batch norm.
        z: latents, shape (B, latent_dim).
        labels: their classes, shape (B,), or None.

    Raises:
        FloatingPointError: a derivative that is not finite.
        NotTwiceDifferentiableError: an operation of G whose backward torch can't differentiate.
    """
    with (
        torch.inference_mode(False), torch.enable_grad(), torch.autocast(z.device.type, enabled=False),
        sdpa_kernel(SDPBackend.MATH), _explained(generator),
    ):  # fmt: skip
        with torch.no_grad():
            size = generator(z[:1], *([] if labels is None else [labels[:1]])).numel()
        chunk = max(1, _CHUNK_BYTES // (8 * size * z.shape[1]))
        pieces = torch.split(z, chunk)
        classes = [None] * len(pieces) if labels is None else torch.split(labels, chunk)
        spectra = [torch.linalg.svdvals(_jacobians(generator, *piece)) for piece in zip(pieces, classes, strict=True)]
    return torch.cat(spectra)


def _jacobians(generator: nn.Module, z: Tensor, labels: Tensor | None) -> Tensor:
    """The Jacobian of each row, shape (B, size of a sample, latent_dim), float64 on the CPU."""
    z = z.detach().clone().requires_grad_()
    samples: Tensor = generator(z, *([] if labels is None else [labels]))
    weights = torch.zeros_like(samples, requires_grad=True)
    _refuse_once_differentiable(samples)
    back = None
    if samples.requires_grad:
        (back,) = torch.autograd.grad(samples, z, weights, create_graph=True, allow_unused=True)
    if back is None:  # a generator that does not look at z
        return torch.zeros(len(z), samples[0].numel(), z.shape[1], dtype=torch.float64)
    columns = []
    for i in range(z.shape[1]):
        # back = J^T weights row by row, so the derivative of its coordinate i in the weights is J's column i
        (column,) = torch.autograd.grad(back[:, i].sum(), weights, retain_graph=True)
        columns.append(column.flatten(1).cpu().double())
    jacobian = torch.stack(columns, 2)
    if not jacobian.isfinite().all():
        raise FloatingPointError("The generator's derivative in its latents is not finite.")
    return jacobian
