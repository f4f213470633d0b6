"""How a generator stretches its latents: singular values of dG/dz at samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: bytes of Jacobians that are held at a time
_CHUNK_BYTES = 2**28


def generator_singular_values(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> Tensor:
    """Singular values of dG/dz at each latent, descending, shape (B, min(latent_dim, size of a sample)), float64.

    They are the factors by which G stretches a small ball of latents: where all but a few are near zero G maps it to
    nearly a point or a sheet, a collapse that is local (Odena et al., 2018, who watch the ratio of the largest to the
    smallest). Jacobians are dense, one product for each latent coordinate, by differentiating a vector-Jacobian product
    in its vector: G needs a second derivative for the sake of torch, and no forward mode.

    Args:
        generator: maps z, and labels if conditional, to samples; rows must not see each other, so in eval mode where
            there is batch norm.
        z: latents, shape (B, latent_dim).
        labels: their classes, shape (B,), or None.

    Raises:
        FloatingPointError: a derivative that is not finite.
    """
    found = []
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(z.device.type, enabled=False):
        z = z.detach().clone().requires_grad_()
        samples = generator(z) if labels is None else generator(z, labels)
        weights = torch.zeros_like(samples, requires_grad=True)
        (back,) = torch.autograd.grad(samples, z, weights, create_graph=True, allow_unused=True)
        if back is None or not back.requires_grad:  # a generator that does not look at z
            return torch.zeros(len(z), min(z.shape[1], samples[0].numel()), dtype=torch.float64)
        chunk = max(1, _CHUNK_BYTES // (8 * samples[0].numel() * z.shape[1]))
        for start in range(0, len(z), chunk):
            found.append(_singular_values(back, weights, slice(start, start + chunk)))
    return torch.cat(found)


def _singular_values(back: Tensor, weights: Tensor, rows: slice) -> Tensor:
    columns = []
    for i in range(back.shape[1]):
        # back = J^T weights row by row, so the derivative of its coordinate i in the weights is J's column i
        (column,) = torch.autograd.grad(back[rows, i].sum(), weights, retain_graph=True)
        columns.append(column[rows].flatten(1).double().cpu())
    jacobian = torch.stack(columns, 2)
    if not jacobian.isfinite().all():
        raise FloatingPointError("The generator's derivative in its latents is not finite.")
    values: Tensor = torch.linalg.svdvals(jacobian)
    return values
