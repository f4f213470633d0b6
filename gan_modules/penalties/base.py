"""Penalties that are added to the players' losses, and constraints on the discriminator's parameters."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_modules.discriminator_pass import DiscriminatorPass
from gan_modules.terms import Term

#: layers whose weight is a matrix, filters as rows
LINEAR_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: where a penalty takes D's input gradient
Points = Literal["interpolated", "real", "fake", "perturbed"]
#: a weight, or "auto": derived from resolution and batch
Gamma = float | Literal["auto"]


class Penalty(Term):
    """A weighted term that keeps a player regular, mostly the discriminator: ``weight * E[...]`` over rows.

    A subclass gives ``discriminator(d)``, ``generator(d)`` or both; None where the penalty is not due.
    """

    @property
    def slope(self) -> tuple[Points, float] | None:
        """Where it draws the norm of D's gradient, and to what value; None for what leaves the slope alone."""
        return None


class Constraint:
    """A set of allowed parameters of the discriminator, imposed by its layers or by projection after each step."""

    def prepare(self, discriminator: nn.Module) -> None:
        """Called once, on the discriminator that the module is given: the place to parametrise its layers."""

    def apply(self, discriminator: nn.Module) -> None:
        """Called after each of its steps: project the parameters in place."""


def squared_norms(gradient: Tensor) -> Tensor:
    """Squared Euclidean norm of each row of (B, *shape): shape (B,)."""
    return gradient.flatten(1).square().sum(1)


def norms(gradient: Tensor) -> Tensor:
    """Euclidean norm of each row of (B, *shape), shape (B,); all derivatives are 0 at 0, where it has none."""
    squares = squared_norms(gradient)
    positive = squares > 0  # the second derivative of vector_norm is NaN at 0, and the game's Jacobian takes it
    return torch.where(positive, squares, 1).sqrt() * positive


def check_gamma(penalty: Any) -> None:
    """Raise ValueError where the penalty's gamma is neither a weight nor "auto"."""
    gamma = penalty.gamma
    if gamma != "auto" if isinstance(gamma, str) else not gamma >= 0:
        raise ValueError(f"{type(penalty).__name__}(gamma={gamma!r}): must be at least 0, or 'auto'.")


def gamma_of(gamma: Gamma, d: DiscriminatorPass) -> float:
    """The weight itself, or for "auto" 0.0002 height * width / batch, the batch being that of all processes.

    The rule of thumb in the public code of Karras et al. (2020), "Training GANs with limited data", by the same R1.

    Raises:
        ValueError: "auto" where samples are not images (C, H, W).
    """
    if gamma != "auto":
        return gamma
    if d.real.ndim != 4:
        raise ValueError(
            f"gamma={gamma!r} with samples of shape {tuple(d.real.shape[1:])}: give a number, or 'auto' for images "
            "(channels, height, width)."
        )
    return 0.0002 * d.real.shape[-2] * d.real.shape[-1] / d.batch.random.total


def free_layers(
    discriminator: nn.Module, owner: Constraint, kinds: tuple[type[nn.Module], ...], own: type[nn.Module]
) -> list[nn.Module]:
    """D's layers of those kinds whose weight is not yet parametrised by ``own``.

    Raises:
        ValueError: no layer of those kinds, or one whose weight another parametrization makes.
    """
    layers = {name: module for name, module in discriminator.named_modules() if isinstance(module, kinds)}
    if not layers:
        names = ", ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{owner}: {type(discriminator).__name__} has none of the layers {names}.")
    free = []
    for name, module in layers.items():
        made_by = [*module.parametrizations["weight"]] if parametrize.is_parametrized(module, "weight") else []  # type: ignore[index]
        others = [type(maker).__name__.strip("_") for maker in made_by if not isinstance(maker, own)]
        if others:
            raise ValueError(
                f"{owner}: the weight of {type(discriminator).__name__}'s layer {name!r} is parametrised already, by "
                f"{', '.join(others)}. Use one or the other."
            )
        if not made_by:
            free.append(module)
    return free
