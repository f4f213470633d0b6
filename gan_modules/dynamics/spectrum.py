"""Leading eigenvalues of a game's Jacobian."""

from __future__ import annotations

import torch
from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.dynamics.arnoldi import MAX_VECTORS, POWER_STEPS, Ritz, arnoldi
from gan_modules.dynamics.jacobian import GameJacobian
from gan_modules.dynamics.matrix_jacobian import times
from gan_modules.protocols import Game, Jacobian


def spectrum(game: Game | Jacobian, batch: GameBatch | None = None, k: int = 5, *, vectors: int = MAX_VECTORS) -> Ritz:
    """The ``k`` eigenvalues of J = dv/dx of largest modulus, in units of the inverse learning rate.

    An eigenvalue l of J is a motion exp(l t) of simultaneous gradient descent with a small rate, t = rate x iterations:
    it grows where Re l > 0 and turns where Im l is not 0.

    Args:
        game: a game, or a Jacobian of one.
        batch: data and randomness of the losses; with a game only.
        k: how many.
        vectors: vectors of the parameters' size that are held; products with J are POWER_STEPS more, each about two
            gradients.

    Returns:
        Values with residuals, which are large where many moduli are alike: the products do not tell those apart. Fewer
        than ``k`` in a game of fewer parameters.
    """
    jacobian = as_jacobian(game, batch)
    # the field is rich in the directions that matter, once neither player's part outweighs the other's
    field = finite_field(jacobian)
    start = torch.cat([part / part.norm().clamp_min(torch.finfo(part.dtype).tiny) for part in jacobian.field])
    found = arnoldi(lambda w: times(jacobian, w), field, vectors, start=start, power_steps=POWER_STEPS)
    return Ritz(found.values[:k], found.residuals[:k], found.products, found.basis, found.coordinates[:, :k])


def as_jacobian(game: Game | Jacobian, batch: GameBatch | None) -> Jacobian:
    """The Jacobian itself, or that of the game on the batch.

    Raises:
        TypeError: neither a game with two players nor a Jacobian, or a game without a batch.
    """
    if not isinstance(game, Game) and isinstance(game, Jacobian):
        return game
    if not isinstance(game, Game) or len(game.players) != 2:
        raise TypeError(f"{type(game).__name__} is no game: it needs two players and player_loss (see protocols.Game).")
    if batch is None:
        raise TypeError(f"The losses of {type(game).__name__} need a batch: pass batch=..., see GameModule.game_batch.")
    return GameJacobian(game, batch)


def finite_field(jacobian: Jacobian) -> Tensor:
    """The field, flat over both players.

    Raises:
        FloatingPointError: it is not finite.
    """
    field = torch.cat(jacobian.field)
    if not field.isfinite().all():
        raise FloatingPointError("The game's field is not finite: parameters or losses are past their numbers.")
    return field
