"""The Jacobian of a game's update field, by products: nothing of its size is ever stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from gan_modules.batch import GameBatch
from gan_modules.protocols import PLAYER_NAMES, Game, Parts, Vector


class NotTwiceDifferentiableError(RuntimeError):
    """An operation of a network has no derivative of its derivative, which a game's Jacobian needs."""


class GameJacobian:
    """v = (-dL_G/dtheta, -dL_D/dphi) of a game on a batch at its present parameters, and products with J = dv/dx.

    Parameters and buffers are copied first: the game may move on, batch norm's statistics stay as they are, and nothing
    reaches ``.grad``. Derivatives are taken in the parameters' own precision, with autocast off and attention in its
    twice differentiable form. Singular vectors of spectral normalisation are those of the last training step, constants
    as they are there.

    A player's rows of J w are -grad_player <grad L, w>, for mixed derivatives commute: one backward pass through the
    graph of the player's gradient, which is kept as long as the object lives. So a product costs about two gradients.

    Where that graph is too large for the memory, ``rows_per_shard`` cuts the batch: everything is the mean over shards,
    each weighted by its rows, whose graphs are built one after the other and dropped, so that a product costs about
    five gradients. That is the whole batch's field and Jacobian where losses are means over rows. It is not that, but
    the one of a game of smaller batches, where rows of a batch see each other: batch norm in training, minibatch
    deviation, relativistic averages, and the losses of critics in a function class (IPMs, MMD, Fisher, Sobolev).

    Args:
        game: whose losses are differentiated.
        batch: data and randomness of the losses; on several processes each has its rows.
        rows_per_shard: at most so many rows at a time; all if None.

    Raises:
        ValueError: an empty batch, ``rows_per_shard`` below 1, or a player without trained parameters.
        NotTwiceDifferentiableError: at the field or a product, where an operation has no second derivative.
    """

    def __init__(self, game: Game, batch: GameBatch, rows_per_shard: int | None = None) -> None:
        if len(batch.real) == 0:
            raise ValueError("The batch has no rows: a game's Jacobian needs at least one.")
        if rows_per_shard is not None and rows_per_shard < 1:
            raise ValueError(f"rows_per_shard={rows_per_shard}: at least 1 row, or None for the whole batch at once.")
        self.game = game
        self._losses = PlayerLosses(game)
        with torch.inference_mode(False):
            self.batch = _outside_inference(batch)
            self._point = tuple(_copied(self._losses.trained(player)) for player in range(2))
            self._buffers = self._losses.buffer_copies()
        for name, point in zip(PLAYER_NAMES, self._point, strict=True):
            if not point:
                raise ValueError(f"The {name} has no trained parameters: a game needs two players that can move.")
        self._inputs = [list(point.values()) for point in self._point]
        self._shards = _shards(self.batch, rows_per_shard or len(batch.real))
        self._kept: _Graph | None = None
        #: what was computed so far, in units of a whole product J w or J^T w
        self.products = 0.0

    @property
    def sizes(self) -> tuple[int, int]:
        first, second = (sum(p.numel() for p in inputs) for inputs in self._inputs)
        return first, second

    @cached_property
    def losses(self) -> Vector:
        """Both players' losses on this process's rows."""
        first, second = self._mean(lambda graph: [value.detach() for value in graph.values])
        return first, second

    @cached_property
    def field(self) -> Vector:
        with self._derivatives():
            own = self._mean(lambda graph: [-gradient.detach() for gradient in graph.own])
        first, second = self.game.all_mean(own)
        return first, second

    def rows(self, player: int, w: Parts) -> Tensor:
        self.products += sum(part is not None for part in w) / 4
        with self._derivatives():
            product = self._mean(lambda graph: [-graph.rows(player, w)])
        return self.game.all_mean(product)[0]

    def halves(self, w: Vector) -> tuple[Tensor, Tensor]:
        """J (w_G, 0) and J (0, w_D), flat over both players: what a product is the sum of, at its cost."""
        self.products += 1
        alone: tuple[Parts, Parts] = ((w[0], None), (None, w[1]))
        with self._derivatives():
            products = self._mean(lambda graph: [-graph.rows(player, half) for half in alone for player in range(2)])
        of_first, of_second = products[:2], products[2:]
        first, second = self.game.all_mean([torch.cat(of_first), torch.cat(of_second)])
        return first, second

    def transposed(self, w: Parts) -> Vector:
        self.products += sum(part is not None for part in w) / 2
        with self._derivatives():
            product = self._mean(lambda graph: [-part for part in graph.transposed(w)])
        first, second = self.game.all_mean(product)
        return first, second

    def _mean(self, of: Callable[[_Graph], list[Tensor]]) -> list[Tensor]:
        """The mean over the batch's shards, each weighted by its rows; the graph of a batch in one piece is kept."""
        if len(self._shards) == 1:
            if self._kept is None:
                self._kept = self._graph(self.batch)
            return of(self._kept)
        total: list[Tensor] = []
        for shard in self._shards:
            share = len(shard.real) / len(self.batch.real)
            parts = [share * part for part in of(self._graph(shard))]
            total = [a + b for a, b in zip(total, parts, strict=True)] if total else parts
        return total

    def _graph(self, batch: GameBatch) -> _Graph:
        everything = self._point[0] | self._point[1] | self._buffers
        with self._derivatives(), _power_iteration_off(self._losses):
            values = [functional_call(self._losses, everything, (player, batch)) for player in range(2)]
            for value in values:
                _refuse_once_differentiable(value)
        return _Graph(values, self._inputs)

    @contextmanager
    def _derivatives(self) -> Iterator[None]:
        """Gradients on, autocast off, attention in the form that has a second derivative, errors explained."""
        autocast = torch.autocast(self.batch.real.device.type, enabled=False)
        with (
            torch.inference_mode(False), torch.enable_grad(), autocast, sdpa_kernel(SDPBackend.MATH),
            _explained(self._losses),
        ):  # fmt: skip
            yield


class _Graph:
    """Both players' losses on some rows, and the gradients of these, with their graphs."""

    def __init__(self, values: list[Tensor], inputs: list[list[Tensor]]) -> None:
        self.values = values
        self._inputs = inputs
        self._everything = [*inputs[0], *inputs[1]]
        self._whole: dict[int, Vector] = {}

    @cached_property
    def own(self) -> list[Tensor]:
        """Each player's gradient of its loss."""
        pairs = zip(self.values, self._inputs, strict=True)
        return [_flat(_gradients([value], inputs, create_graph=True)) for value, inputs in pairs]

    def rows(self, player: int, w: Parts) -> Tensor:
        """The player's rows of the derivative of ``own``, times w."""
        if player not in self._whole:  # the gradient of the player's loss in both players' parameters
            gradient = _gradients([self.values[player]], self._everything, create_graph=True)
            self._whole[player] = self._by_player(gradient)
        return _flat(_gradients(self._whole[player], self._inputs[player], w))

    def transposed(self, w: Parts) -> Vector:
        """The transposed derivative of ``own``, times w."""
        return self._by_player(_gradients(self.own, self._everything, w))

    def _by_player(self, tensors: Sequence[Tensor]) -> Vector:
        split = len(self._inputs[0])
        return _flat(tensors[:split]), _flat(tensors[split:])


def _shards(batch: GameBatch, rows: int) -> list[GameBatch]:
    """The batch in pieces of at most so many rows, each with the random numbers of its own rows."""
    if rows >= len(batch.real):
        return [batch]
    starts = range(0, len(batch.real), rows)
    return [_cut(batch, start, min(start + rows, len(batch.real))) for start in starts]


def _cut(batch: GameBatch, start: int, stop: int) -> GameBatch:
    return replace(
        batch,
        real=batch.real[start:stop],
        z=batch.z[start:stop],
        random=replace(batch.random, start=batch.random.start + start, rows=stop - start),
        labels=None if batch.labels is None else batch.labels[start:stop],
    )


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


def _outside_inference(batch: GameBatch) -> GameBatch:
    """The batch with copies of what was made in inference mode, through which no derivative can be taken."""
    return replace(batch, real=_usable(batch.real), z=_usable(batch.z), labels=_usable(batch.labels))


def _usable(tensor: Any) -> Any:
    return tensor.clone() if tensor is not None and tensor.is_inference() else tensor


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
def _power_iteration_off(losses: nn.Module) -> Iterator[None]:
    """Spectral normalisation takes its singular vectors as they are, for both players' losses alike."""

    def iterates(module: nn.Module) -> bool:
        hooks = module._forward_pre_hooks.values()
        return isinstance(module, _SpectralNorm) or any(isinstance(hook, SpectralNorm) for hook in hooks)

    training = [module for module in losses.modules() if module.training and iterates(module)]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


_MISSING = re.compile(
    r"derivative for (\S+) is not implemented|Trying to backward through (\S+)"
    r"|(aot_autograd) does not currently support double backward|(autograd\.Function \S+)"
    r"|(\S+) does not support 3rd\+ order derivatives"
)


def _refuse_once_differentiable(value: Tensor) -> None:
    """Raise where the graph of a loss holds a Function marked once_differentiable.

    Torch leaves its second derivative out without a word, unless a derivative is taken at the inputs of its backward.
    """
    seen: set[Any] = set()
    found = [value.grad_fn]
    while found:
        node: Any = found.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function: Any = getattr(node, "_forward_cls", None)
        code = getattr(getattr(function, "backward", None), "__code__", None)
        if code is not None and code.co_filename == once_differentiable.__code__.co_filename:
            raise RuntimeError(f"autograd.Function {function.__name__} is marked once_differentiable")
        found.extend(following for following, _ in node.next_functions)


@contextmanager
def _explained(losses: nn.Module) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        found = _MISSING.search(str(error))
        if found is None:
            raise
        operation = next(group for group in found.groups() if group)
        modules = sorted({type(m).__name__ for m in losses.modules() if not list(m.children())})
        raise NotTwiceDifferentiableError(
            f"Torch can't differentiate {operation} often enough, in one of {', '.join(modules)}: a game's Jacobian "
            "differentiates every gradient again, that of a gradient penalty a third time. Replace it by operations "
            "that torch differentiates without end (eager rather than compiled or fused kernels; a custom Function "
            "with a backward made of differentiable operations), or leave out the gradient penalty."
        ) from error
