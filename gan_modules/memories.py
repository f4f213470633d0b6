"""What losses, penalties and augmentations remember, from one draw to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from gan_modules.batch import GameBatch
from gan_modules.discriminator_pass import DiscriminatorPass, Memory
from gan_modules.terms import Remembers


class Memories:
    """The memory of each part by name; all evaluations of a draw, of which a rule may make several, see the same.

    Args:
        parts: by the name under which their memory is logged and checkpointed.
    """

    def __init__(self, parts: Mapping[str, Remembers]) -> None:
        self._parts = dict(parts)
        self._now: dict[str, Memory] = {name: part.init() for name, part in parts.items()}
        self._next: tuple[GameBatch, dict[str, Memory]] | None = None

    def __bool__(self) -> bool:
        return any(self._now.values())

    def __getitem__(self, name: str) -> Memory:
        return self._now[name]

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """All remembered tensors, as "part/name"."""
        for part, memory in self._now.items():
            yield from ((f"{part}/{name}", value) for name, value in memory.items())

    @torch.no_grad()
    def prepare(self, batch: GameBatch, d: DiscriminatorPass) -> None:
        """Keep what the draw after ``batch`` is to see; the first pass over a batch is the one that counts."""
        if not self or (self._next is not None and self._next[0] is batch):
            return
        following = {}
        for name, part in self._parts.items():
            d.memory = now = self._now[name]
            then = part.update(d) if now else now
            following[name] = {key: value.to(now[key].dtype) for key, value in then.items()}
        self._next = batch, following

    def turn(self, batch: GameBatch | None = None) -> None:
        """Let what was prepared come into force, where a draw other than ``batch`` begins."""
        if self._next is not None and self._next[0] is not batch:
            self._now, self._next = self._next[1], None

    def to(self, device: torch.device) -> None:
        """Move all tensors."""
        self._now = {
            name: {key: value.to(device) for key, value in memory.items()} for name, memory in self._now.items()
        }

    def state_dict(self) -> dict[str, Memory]:
        """The memories of parts that have one."""
        return {name: memory for name, memory in self._now.items() if memory}

    def load_state_dict(self, state: Mapping[str, Memory]) -> None:
        """Restore them, on the device where they are.

        Raises:
            ValueError: memories of other parts.
        """
        own = self.state_dict()
        for name in sorted(own.keys() | state.keys()):
            was, now = state.get(name, {}), own.get(name, {})
            if was.keys() != now.keys():
                raise ValueError(
                    f"The checkpoint remembers {sorted(was)} of {name}, and this module {sorted(now)}: build it with "
                    "the same loss, penalties and augmentation."
                )
            self._now[name] = {key: value.to(now[key]) for key, value in was.items()}
