"""Checks of injected networks before training, each with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gan_modules.penalties.discriminator_pass import call


def latent_dim_of(generator: nn.Module, given: int | None) -> int:
    """The size of z: as given, else the generator's own ``latent_dim``."""
    own: int | None = getattr(generator, "latent_dim", None)
    size = own if given is None else given
    if size is None:
        raise ValueError(
            f"The size of z is unknown: {type(generator).__name__} has no attribute latent_dim, so pass latent_dim=..."
        )
    if own is not None and size != own:
        raise ValueError(f"latent_dim={given}, but {type(generator).__name__}.latent_dim={own}: make them equal.")
    if size < 1:
        raise ValueError(f"latent_dim={size}: must be at least 1.")
    return size


def check_shape(data: Sequence[int], made: Sequence[int], generator: nn.Module) -> None:
    """Raise ValueError where samples of the data and of the generator differ in shape."""
    if tuple(data) != tuple(made):
        raise ValueError(
            f"Samples of the data have shape {tuple(data)}, and {type(generator).__name__} makes shape {tuple(made)}: "
            "set the generator's and the discriminator's shape to the data's."
        )


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Every module of the networks in eval mode, and afterwards in the mode it was in, whatever happens."""
    modes = [(m, m.training) for network in networks for m in network.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def check_networks(generator: nn.Module, discriminator: nn.Module, z: Tensor, labels: Tensor | None) -> tuple[int, ...]:
    """Send ``z`` through both networks in eval mode, and return the shape of a sample.

    Raises:
        ValueError: where a network fails on what it is given, or loses the batch dimension, naming both networks.
    """
    g, d = type(generator).__name__, type(discriminator).__name__
    with evaluating(generator, discriminator):
        fake = _explained(f"The generator {g} fails on latents of shape {tuple(z.shape)}", generator, z, labels)
        shape = tuple(fake.shape[1:])
        logits = _explained(
            f"The generator {g} makes samples of shape {shape}, and the discriminator {d} fails on them",
            discriminator,
            fake,
            labels,
        )
    if fake.ndim < 2 or logits.ndim < 1 or len(fake) != len(z) or len(logits) != len(z):
        raise ValueError(
            f"For {len(z)} latents the generator {g} gives shape {tuple(fake.shape)} and the discriminator {d} logits "
            f"of shape {tuple(logits.shape)}: the first dimension of both must be the batch."
        )
    return shape


def _explained(failure: str, network: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    try:
        return call(network, x, labels)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{failure}: {error}") from error
