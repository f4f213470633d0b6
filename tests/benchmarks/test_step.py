"""What an iteration of ours does is counted, and is the work of the best hand-written loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from benchmarks import counts, step
from benchmarks.plain_loop import OBJECTIVES

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_both_arms_end_in_the_same_parameters(variant: str) -> None:
    assert step.difference(variant, width=4, batch_size=4) < 0.01


class Count(Callback):
    """Counts the third iteration, which logs nothing."""

    def __init__(self) -> None:
        self.reads = counts.HostReads()
        self.seen: list[counts.Event] = []

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self._events = counts.events(module.players, trainer.optimizers)
            self.seen = self._events.__enter__()
            self.reads.__enter__()

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 2:
            self.reads.__exit__(None, None, None)
            self._events.__exit__(None, None, None)


@pytest.mark.parametrize("variant", OBJECTIVES)
def test_nothing_is_thrown_away_and_nothing_waits_for_the_device(variant: str) -> None:
    module, _ = step.pair(variant, width=4)
    batch, count = torch.rand(4 * module.draws, *step.SHAPE), Count()
    step.trainer(3, count).fit(module, step.batches(batch, 3))
    assert [player for player, _ in counts.steps(count.seen)] == ["discriminator"] * module.draws + ["generator"]
    assert counts.foreign_gradients(count.seen) == 0
    assert counts.unused_generator_graphs(count.seen) == 0
    assert counts.rows(count.seen, "generator") == 4 * module.draws  # one forward a draw, the last for both players
    assert not count.reads.names
