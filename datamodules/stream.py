"""The order of training samples: a pure function of (seed, iteration), resumable at every iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from datamodules.augmentation import DataAugmentation, augmented, numbers_of
from datamodules.checks import require_positive
from datamodules.seeding import keyed_generator
from datamodules.source import Batch, Source, in_data_space


class TrainingStream:
    """Endless shuffled passes over a source, cut into iterations of several draws.

    Row order: pass p is a permutation keyed by (seed, p), and passes are concatenated without end. Iteration t takes
    the next R = draws * batch_size positions [t R, (t + 1) R), draw k of it the positions t R + k batch_size +
    [0, batch_size), and this process its contiguous share of each draw. Nothing is dropped or padded: an iteration may
    straddle passes, and only there, or with batch_size > N, can it hold one row twice. The numbers of augmentations are
    keyed by (seed, t) and drawn for the whole batch. Global RNG state is neither read nor written.

    A batch is (real, labels) with first dimension draws * batch_size / world_size: this process's rows of draw 0, then
    of draw 1, and so on; `real.chunk(draws)` separates them.

    Every `__iter__` starts at the current iteration and yields `len(self)` batches. Lightning counts batches itself and
    ends a resumed epoch where the uninterrupted one would have ended. The state is saved after the latest batch that
    was handed out, so a resumed run starts with the next one, also with another number of processes or epoch length.

    Args:
        source: of N > 0 rows.
        batch_size: rows of one draw, summed over processes.
        draws: minibatches in one iteration.
        seed: of the order.
        epoch_iterations: length of an epoch; about one pass over the data where None, ceil(N / R).
        rank: of this process.
        world_size: number of processes; must divide batch_size.
        augmentations: applied to the rows of every batch.
        transform: applied after them.

    Raises:
        ValueError: a size that is not positive, or a batch_size that world_size does not divide.
    """

    def __init__(
        self,
        source: Source,
        *,
        batch_size: int,
        draws: int = 1,
        seed: int = 0,
        epoch_iterations: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        augmentations: Sequence[DataAugmentation] = (),
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        require_positive(samples=len(source), batch_size=batch_size, draws=draws, world_size=world_size)
        if batch_size % world_size:
            raise ValueError(
                f"batch_size {batch_size} (over all processes) is not divisible by world_size {world_size}; "
                f"use {batch_size // world_size * world_size or world_size} or another number of processes"
            )
        self.source, self.seed, self.augmentations, self.transform = source, seed, augmentations, transform
        self.rows_per_iteration = draws * batch_size
        if epoch_iterations is None:
            epoch_iterations = -(-len(source) // self.rows_per_iteration)
        require_positive(epoch_iterations=epoch_iterations)
        self.epoch_iterations = epoch_iterations
        self.iteration = 0
        share = batch_size // world_size
        starts = torch.arange(draws) * batch_size + rank * share
        self._offsets = (starts[:, None] + torch.arange(share)).flatten()
        self._permutations: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.epoch_iterations

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._batches(range(self.iteration, self.iteration + self.epoch_iterations)):
            # Before the yield: a checkpoint taken while this batch is in use resumes with the next one.
            self.iteration += 1
            yield batch

    def batch(self, iteration: int) -> Batch:
        """Return this process's rows of any iteration >= 0; the stream's own position stays as it is."""
        (batch,) = self._batches([iteration])
        return batch

    def _batches(self, iterations: Sequence[int]) -> Iterator[Batch]:
        read = self.source.read(self._rows(iteration) for iteration in iterations)
        for iteration, (real, labels) in zip(iterations, read, strict=True):
            if self.augmentations:
                real = augmented(real, self.augmentations, self._uniform(iteration))
            real = in_data_space(real)
            yield real if self.transform is None else self.transform(real), labels

    def _uniform(self, iteration: int) -> Tensor:
        size = self.rows_per_iteration, numbers_of(self.augmentations)
        return torch.rand(size, generator=keyed_generator("augmentation", self.seed, iteration))[self._offsets]

    def state_dict(self) -> dict[str, int]:
        """The position, and what the order depends on."""
        return {"iteration": self.iteration, **self._order()}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the last batch that was handed out when the state was saved.

        Raises:
            ValueError: not a state of this class, a negative iteration, or a state of another order (other data size,
                seed, or rows per iteration).
        """
        expected = {"iteration", *self._order()}
        if set(state_dict) != expected or not all(type(value) is int for value in state_dict.values()):
            raise ValueError(f"not the state of a training stream: {state_dict}; expected {sorted(expected)}, integers")
        if state_dict["iteration"] < 0:
            raise ValueError(f"iteration must be >= 0, the state holds {state_dict['iteration']}")
        for name, value in self._order().items():
            if state_dict[name] != value:
                raise ValueError(
                    f"the checkpoint's sample order has {name} {state_dict[name]}, this run has {value}; "
                    "resume with the data, seed, batch_size and draws it was saved with"
                )
        self.iteration = state_dict["iteration"]

    def _order(self) -> dict[str, int]:
        return {"size": len(self.source), "seed": self.seed, "rows_per_iteration": self.rows_per_iteration}

    def _rows(self, iteration: int) -> Tensor:
        start, size = iteration * self.rows_per_iteration, len(self.source)
        first, last = start // size, (start + self.rows_per_iteration - 1) // size
        self._permutations = {p: self._permutation(p) for p in range(first, last + 1)}
        order = self._permutations[first] if first == last else torch.cat(list(self._permutations.values()))
        return order.index_select(0, self._offsets + (start - first * size))

    def _permutation(self, index: int) -> Tensor:
        if (known := self._permutations.get(index)) is not None:
            return known
        return torch.randperm(len(self.source), generator=keyed_generator(self.seed, index))
