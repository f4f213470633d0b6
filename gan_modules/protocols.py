"""What rules, diagnostics and callbacks may ask of a module: a differentiable two-player game, or a sampler."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from gan_modules.batch import GameBatch

GENERATOR = 0
DISCRIMINATOR = 1
PLAYER_NAMES = ("generator", "discriminator")

#: samples are generated in whole, aligned blocks of this many, so that sample i is the same bit for bit however many
#: are asked for; who shares sampling among processes shares blocks
SAMPLE_BLOCK = 64


@runtime_checkable
class Game(Protocol):
    """Two players' parameters and, for each player, a loss on a batch that it minimises."""

    @property
    def players(self) -> tuple[nn.Module, nn.Module]:
        """(generator, discriminator), or (u, v) of a toy game."""

    def player_loss(self, player: int, batch: GameBatch) -> Tensor:
        """The loss of ``player`` as a function of both players' parameters: a scalar, nothing cached or detached."""

    def gradient(self, player: int, batch: GameBatch, *, shared: bool = False) -> None:
        """Fill ``.grad`` of that player's parameters only, with the mean over processes.

        ``shared=True`` promises that the other player's gradient on this same batch follows before the generator
        moves, so that both may use one forward of the generator.
        """


@runtime_checkable
class Sampler(Protocol):
    """Anything that can generate: all that sample metrics need."""

    def sample(self, n: int, *, seed: int | None = None, start: int = 0) -> Tensor:
        """Samples ``start`` to ``start + n`` of the endless sequence that ``seed`` names, in training space."""


class PlayerOptimizer(Protocol):
    """The handle by which a rule moves a player; the module counts one step an iteration whatever the rule does."""

    def step(self) -> None:
        """Apply the player's ``.grad`` through its optimizer, then its constraint."""
