"""What rules, diagnostics and callbacks may ask of a module: a differentiable two-player game, or a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

from gan_modules.batch import GameBatch

GENERATOR = 0
DISCRIMINATOR = 1
PLAYER_NAMES = ("generator", "discriminator")

#: a vector of the joint parameter space: one flat tensor a player, the generator's first
Vector = tuple[Tensor, Tensor]
#: the same where a player's part may be left out, which counts as zero
Parts = tuple[Tensor | None, Tensor | None]


def by_player(w: Tensor, sizes: tuple[int, int]) -> Vector:
    """A flat vector over both players, cut in two."""
    return w[: sizes[0]], w[sizes[0] :]


#: samples are generated in whole, aligned blocks of this many, so that sample i is the same bit for bit however many
#: are asked for; who shares sampling among processes shares blocks
SAMPLE_BLOCK = 64


@runtime_checkable
class Jacobian(Protocol):
    """The update field v = (-dL_G/dtheta, -dL_D/dphi) at one point and batch, and products with its Jacobian J.

    Vectors are pairs of flat tensors, one a player; all values are means over processes.
    """

    @property
    def field(self) -> Vector:
        """The field v at the point."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of parameters of each player."""

    def rows(self, player: int, w: Parts) -> Tensor:
        """The rows of J w that belong to ``player``; a part of ``w`` that is None counts as zero, and costs nothing."""

    def halves(self, w: Vector) -> tuple[Tensor, Tensor]:
        """J (w_G, 0) and J (0, w_D), each flat over both players: together they cost about a product."""

    def transposed(self, w: Parts) -> Vector:
        """J^T w; a part of ``w`` that is None counts as zero."""


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

    def jacobian(self, batch: GameBatch) -> Jacobian:
        """The field at the present parameters and products with its Jacobian, for rules and diagnostics."""

    def all_mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean of each tensor over processes; the tensors themselves where there is one."""

    def project(self, player: int) -> None:
        """Impose the constraint, if any, on the parameters of ``player``, which has just moved."""


@runtime_checkable
class Sampler(Protocol):
    """Anything that can generate: all that sample metrics need."""

    def sample(self, n: int, *, seed: int | None = None, start: int = 0) -> Tensor:
        """Samples ``start`` to ``start + n`` of the endless sequence that ``seed`` names, in training space."""


@runtime_checkable
class Examiner(Protocol):
    """A callback that sees a checkpoint validated and trained on for a few iterations, and tells what it saw."""

    def begin(self, checkpoint: Mapping[str, Any], path: Path, root: Path) -> None:
        """Called first, with the checkpoint, its file, and the run's directory."""

    def failed(self, name: str, error: BaseException) -> None:
        """Called where a part of it was not possible; what is left goes on."""

    def finish(self, out: Path) -> None:
        """Called last, on the first process alone: write the report."""


class PlayerOptimizer(Protocol):
    """The handle by which a rule moves a player; the module counts one step an iteration whatever the rule does.

    Positions and gradients are flat: a player's trained parameters one after the other.
    """

    @property
    def optimizer(self) -> Optimizer:
        """The torch optimizer behind the handle, for its settings."""

    @property
    def rates(self) -> Tensor:
        """Learning rates now in force: a scalar where all parameters share one, else one a coordinate."""

    @property
    def gradient(self) -> Tensor:
        """A copy of the player's ``.grad``; assigning sets it."""

    @gradient.setter
    def gradient(self, value: Tensor) -> None: ...

    def position(self) -> Tensor:
        """A copy of the player's parameters."""

    def move_to(self, position: Tensor) -> None:
        """Put the player there, then impose its constraint; the optimizer does not notice."""

    def step(self) -> None:
        """Apply the player's ``.grad`` through its optimizer, then its constraint."""
