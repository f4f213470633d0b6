"""Checks of injected networks before training, each with an error that names what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_modules.augmentation import Augmentation
from gan_modules.discriminator_pass import call, has_batch_statistics, rows_per_logit
from gan_modules.losses import AdversarialLoss
from gan_modules.penalties import Constraint, Penalty


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
    if fake.ndim < 2 or logits.ndim < 1 or len(fake) != len(z) or len(logits) * rows_per_logit(discriminator) != len(z):
        raise ValueError(
            f"For {len(z)} latents the generator {g} gives shape {tuple(fake.shape)} and the discriminator {d} logits "
            f"of shape {tuple(logits.shape)}: the first dimension of both must be the batch."
        )
    return shape


def check_parts(loss: object, penalties: object, constraint: object, augmentation: object) -> None:
    """Raise TypeError for a part that is given as another argument than its kind's."""
    sequences = {"penalties": (penalties, Penalty), "augmentation": (augmentation, Augmentation)}
    for name, (given, kind) in sequences.items():
        if not isinstance(given, Sequence):
            raise TypeError(f"{name}={given!r}: must be a list, [{given!r}].")
        for part in given:
            _check_kind(f"{name}=[...]", part, kind)
    _check_kind("loss=...", loss, AdversarialLoss)
    if constraint is not None:
        _check_kind("constraint=...", constraint, Constraint)


def _check_kind(argument: str, part: object, kind: type) -> None:
    homes = {"loss": AdversarialLoss, "penalties": Penalty, "constraint": Constraint, "augmentation": Augmentation}
    if not isinstance(part, kind):
        home = next((name for name, other in homes.items() if isinstance(part, other)), None)
        advice = f"; it belongs to {home}" if home else ""
        raise TypeError(f"{argument} got {part!r}, which is no {kind.__name__}{advice}.")


def refuse_contradictions(loss: AdversarialLoss, penalties: Sequence[Penalty], constraint: Constraint | None) -> None:
    """Raise ValueError for two norms of D's gradient at the same points, or two constraints."""
    targets: dict[str, tuple[float, Penalty]] = {}
    for penalty in penalties:
        if penalty.slope is not None:
            at, target = penalty.slope
            other = targets.setdefault(at, (target, penalty))
            if other[0] != target:
                raise ValueError(
                    f"Contradictory penalties: {other[1]} draws the norm of D's gradient at {at} points to {other[0]}, "
                    f"and {penalty} to {target}. Keep one of them."
                )
    if constraint is not None and loss.constraint is not None and constraint != loss.constraint:
        raise ValueError(
            f"Contradictory constraints: the loss {loss} brings {loss.constraint}, and the constraint {constraint} was "
            f"given too. Keep one of them: leave it out, or give {type(loss).__name__} the other or none."
        )


def warn_of_doubtful_parts(
    loss: AdversarialLoss, penalties: Sequence[Penalty], constraint: Constraint | None, discriminator: nn.Module
) -> None:
    """Warn of an unbounded loss whose critic nothing bounds, and of gradient penalties across batch statistics."""
    bounded = constraint is not None or any(penalty.slope for penalty in penalties)
    if loss.needs_bounded_slope and not bounded and not any(map(parametrize.is_parametrized, discriminator.modules())):
        rank_zero_warn(
            f"{type(loss).__name__} grows without bound with the critic's slope, and nothing bounds that: add a "
            "penalty (GradientPenalty, R1), a constraint (SpectralNorm, Orthonormal, WeightClipping), or take WGANGP."
        )
    if any(penalty.slope for penalty in penalties) and has_batch_statistics(discriminator):
        rank_zero_warn(
            f"{type(discriminator).__name__} mixes the rows of a batch (batch normalisation, minibatch statistics): a "
            "gradient penalty then does not bound the gradient of single rows. Use a discriminator without."
        )


def _explained(failure: str, network: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    try:
        return call(network, x, labels)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{failure}: {error}") from error
