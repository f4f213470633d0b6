"""The Jacobian of a game's update field, by products: nothing of its size is ever stored."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from gan_modules.batch import GameBatch
from gan_modules.protocols import PLAYER_NAMES, Game, Vector

Parts = tuple[Tensor | None, Tensor | None]


class NotTwiceDifferentiableError(RuntimeError):
    """An operation of a network has no derivative of its derivative, which a game's Jacobian needs."""


class GameJacobian:
    """v = (-dL_G/dtheta, -dL_D/dphi) of a game on a batch at its present parameters, and products with J = dv/dx.

    Parameters and buffers are copied first: the game may move on, batch norm's statistics stay as they are, and nothing
    reaches ``.grad``. Derivatives are taken in the parameters' own precision, with autocast off and attention in its
    twice differentiable form. Singular vectors of spectral normalisation count as constants, as they do in training.

    The graphs of the gradients are kept as long as the object lives, so that a product costs one backward pass through
    them, about two gradients.

    Args:
        game: whose losses are differentiated.
        batch: data and randomness of the losses; on several processes each has its rows.

    Raises:
        ValueError: an empty batch, or a player without trained parameters.
        NotTwiceDifferentiableError: at a product, where an operation of a network has no second derivative.
    """

    def __init__(self, game: Game, batch: GameBatch) -> None:
        if len(batch.real) == 0:
            raise ValueError("The batch has no rows: a game's Jacobian needs at least one.")
        self.game = game
        self.batch = batch
        self._losses = PlayerLosses(game)
        self._point = tuple(_copied(self._losses.trained(player)) for player in range(2))
        for name, point in zip(PLAYER_NAMES, self._point, strict=True):
            if not point:
                raise ValueError(f"The {name} has no trained parameters: a game needs two players that can move.")
        self._inputs = [list(point.values()) for point in self._point]
        self._buffers = self._losses.buffer_copies()
        #: what was computed so far, in units of a whole product J w or J^T w
        self.products = 0.0

    @property
    def sizes(self) -> tuple[int, int]:
        first, second = (sum(p.numel() for p in inputs) for inputs in self._inputs)
        return first, second

    @property
    def losses(self) -> Vector:
        """Both players' losses on this process's rows."""
        return self._graphs[0][0].detach(), self._graphs[1][0].detach()

    @cached_property
    def field(self) -> Vector:
        first, second = self.game.all_mean([-gradient.detach() for _, gradient in self._graphs])
        return first, second

    def rows(self, player: int, w: Parts) -> Tensor:
        self.products += sum(part is not None for part in w) / 4
        dummy, images = self._images[player]
        with _explained(self._losses):
            # images = (dg/dx)^T u are linear in u, so that their own transposed product with w is (dg/dx) w
            (product,) = _gradients(images, [dummy], w)
        return self.game.all_mean([-product])[0]

    def transposed(self, w: Parts) -> Vector:
        self.products += sum(part is not None for part in w) / 2
        with _explained(self._losses):
            gradients = [gradient for _, gradient in self._graphs]
            product = _gradients(gradients, [*self._inputs[0], *self._inputs[1]], w)
        first, second = self.game.all_mean([-part for part in self._by_player(product)])
        return first, second

    def _loss(self, player: int) -> Tensor:
        everything = self._point[0] | self._point[1] | self._buffers
        loss: Tensor = functional_call(self._losses, everything, (player, self.batch))
        return loss

    @cached_property
    def _graphs(self) -> list[tuple[Tensor, Tensor]]:
        """Each player's loss and flat gradient, with its graph."""
        found = []
        with _differentiable(self.batch), _explained(self._losses):
            for player, inputs in enumerate(self._inputs):
                loss = self._loss(player)
                found.append((loss, _flat(_gradients([loss], inputs, create_graph=True))))
        return found

    @cached_property
    def _images(self) -> list[tuple[Tensor, Vector]]:
        """For each player a dummy u and (dg/dx)^T u by player, with its graph in u."""
        found = []
        for _, gradient in self._graphs:
            with _differentiable(self.batch), _explained(self._losses):
                dummy = torch.zeros_like(gradient, requires_grad=True)
                images = _gradients([gradient], [*self._inputs[0], *self._inputs[1]], [dummy], create_graph=True)
            found.append((dummy, self._by_player(images)))
        return found

    def _by_player(self, tensors: Sequence[Tensor]) -> Vector:
        split = len(self._inputs[0])
        return _flat(tensors[:split]), _flat(tensors[split:])


class PlayerLosses(nn.Module):
    """Both players' losses as a function of named parameters, which ``functional_call`` replaces."""

    def __init__(self, game: Game) -> None:
        super().__init__()
        self.players = nn.ModuleList(game.players)
        self._game = (game,)  # in a tuple, so that no parameter gets a second name

    def forward(self, player: int, batch: GameBatch) -> Tensor:
        return self._game[0].player_loss(player, batch)

    def trained(self, player: int) -> dict[str, Tensor]:
        """A player's trained parameters, by their name here."""
        named = self.players[player].named_parameters(prefix=f"players.{player}")
        return {name: p for name, p in named if p.requires_grad}

    def buffer_copies(self) -> dict[str, Tensor]:
        """Copies of all buffers, by name, for losses that are to leave them as they are."""
        return {name: buffer.detach().clone() for name, buffer in self.named_buffers()}


def _copied(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.reshape(-1) for t in tensors])


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor | None] | None = None,
    create_graph: bool = False,
) -> list[Tensor]:
    """sum_k weights_k^T d outputs_k / d inputs; an output whose weight is None is left out; zeros where unconnected."""
    pairs = [(o, w) for o, w in zip(outputs, weights or [torch.ones_like(o) for o in outputs], strict=True)]
    kept = [(o, w) for o, w in pairs if w is not None and o.requires_grad]
    if not kept:
        return [torch.zeros_like(x) for x in inputs]
    found = torch.autograd.grad(
        [o for o, _ in kept],
        inputs,
        [w for _, w in kept],
        retain_graph=True,
        create_graph=create_graph,
        allow_unused=True,
    )
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)]


@contextmanager
def _differentiable(batch: GameBatch) -> Iterator[None]:
    """Gradients on, autocast off, and scaled dot-product attention in the form that has a second derivative."""
    autocast = torch.autocast(batch.real.device.type, enabled=False)
    with torch.inference_mode(False), torch.enable_grad(), autocast, sdpa_kernel(SDPBackend.MATH):
        yield


_MISSING = re.compile(r"derivative for (\S+) is not implemented|(once_differentiable)|Trying to backward through (\S+)")


@contextmanager
def _explained(losses: nn.Module) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        found = _MISSING.search(str(error))
        if found is None:
            raise
        own = "an autograd.Function marked once_differentiable" if found.group(2) else None
        operation = own or found.group(1) or found.group(3)
        modules = sorted({type(m).__name__ for m in losses.modules() if not list(m.children())})
        raise NotTwiceDifferentiableError(
            f"No second derivative of {operation}, in one of {', '.join(modules)}: a game's Jacobian differentiates "
            "every gradient again. Replace it by operations that torch differentiates twice (eager rather than "
            "compiled or fused kernels; a custom Function with a backward made of differentiable operations)."
        ) from error
