"""What an iteration does, counted while it runs: forwards, gradients, steps and reads on the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Player = Literal["generator", "discriminator"]
PLAYERS: tuple[Player, Player] = ("generator", "discriminator")


@dataclass(frozen=True)
class Event:
    """A forward of a player's network, the gradient of one of its parameters, or a step of its optimizer.

    Attributes:
        kind: which of the three.
        player: whose.
        rows: rows of the forward.
        graph: whether the forward's output carries a graph.
    """

    kind: Literal["forward", "gradient", "step"]
    player: Player
    rows: int = 0
    graph: bool = False


@contextmanager
def events(networks: Sequence[nn.Module], optimizers: Sequence[Optimizer]) -> Iterator[list[Event]]:
    """The events of the block in their order; networks and optimizers are the generator's and the discriminator's.

    A parameter's gradient is seen however it is computed, by ``backward``, with or without ``inputs=``, or by ``grad``.
    """
    seen: list[Event] = []

    def forward(player: Player) -> Callable[..., None]:
        return lambda module, args, out: seen.append(Event("forward", player, len(out), out.requires_grad))

    def note(event: Event) -> Callable[..., None]:
        return lambda *args: seen.append(event)

    with ExitStack() as stack:
        for player, network, optimizer in zip(PLAYERS, networks, optimizers, strict=True):
            handles = [network.register_forward_hook(forward(player))]
            handles += [p.register_hook(note(Event("gradient", player))) for p in network.parameters()]
            handles += [optimizer.register_step_post_hook(note(Event("step", player)))]
            for handle in handles:
                stack.callback(handle.remove)
        yield seen


def steps(seen: Sequence[Event]) -> list[tuple[Player, list[Event]]]:
    """The events cut after each optimizer step: who moved, and what happened for it."""
    cut: list[tuple[Player, list[Event]]] = []
    start = 0
    for i, event in enumerate(seen):
        if event.kind == "step":
            cut.append((event.player, list(seen[start:i])))
            start = i + 1
    return cut


def foreign_gradients(seen: Sequence[Event]) -> int:
    """Parameter gradients computed for the player that does not move: they are thrown away."""
    return sum(e.kind == "gradient" and e.player != player for player, before in steps(seen) for e in before)


def unused_generator_graphs(seen: Sequence[Event]) -> int:
    """Graphs of G built in a step of D that no step of G follows: nothing is ever differentiated through them."""
    cut = steps(seen)
    followers = [player for player, _ in cut[1:]] + [None]
    return sum(
        e.kind == "forward" and e.player == "generator" and e.graph
        for (player, before), follower in zip(cut, followers, strict=True)
        if player == follower == "discriminator"
        for e in before
    )


def rows(seen: Sequence[Event], player: Player) -> int:
    """Rows sent through a player's network."""
    return sum(e.rows for e in seen if e.kind == "forward" and e.player == player)


_READING_OPERATORS = {
    "_local_scalar_dense",  # item, bool, float and int of a tensor, isclose, and so on
    "equal",
    "nonzero",
    "nonzero_numpy",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
}
_READING_METHODS = {"tolist", "numpy", "__array__", "cpu", "__dlpack__"}  # a tensor on the CPU dispatches nothing there


class HostReads:
    """Reads of a tensor's values on the host in the block, by name: each waits for the device.

    On a CPU nothing waits, and the same calls are made: what is counted here would stall an accelerator.
    """

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self._stack = ExitStack()

    def __enter__(self) -> HostReads:
        self._stack.enter_context(_Methods(self.names))
        self._stack.enter_context(_Operators(self.names))
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()


class _Operators(TorchDispatchMode):
    def __init__(self, names: Counter[str]) -> None:
        super().__init__()
        self._names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._overloadpacket.__name__
        if name in _READING_OPERATORS or (name == "index" and _has_mask(args[1])):
            self._names[name] += 1
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, names: Counter[str]) -> None:
        super().__init__()
        self._names = names

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _READING_METHODS:
            self._names[name] += 1
        return func(*args, **(kwargs or {}))


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
