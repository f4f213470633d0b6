"""Options of the Trainer that two players can't honour."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy

from gan_modules import NSGAN, Adam
from gan_modules.strategies import average_buffers, refuse_hidden_scale, refuse_unsupported


@pytest.mark.parametrize(
    ("option", "remedy"),
    [({"gradient_clip_val": 0.5}, "gradient_clip_norm=0.5"), ({"accumulate_grad_batches": 2}, "batch_size")],
    ids=str,
)
def test_trainer_options_that_a_game_has_no_sense_for_are_named(option, remedy, tiny, fit):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=rf"{name}={value}.*{remedy}"):
        fit(tiny(NSGAN), **option)


def test_deepspeed_is_refused():
    strategy = object.__new__(DeepSpeedStrategy)
    trainer = SimpleNamespace(gradient_clip_val=None, accumulate_grad_batches=1, strategy=strategy)
    with pytest.raises(ValueError, match="DeepSpeed"):
        refuse_unsupported(trainer)


@pytest.mark.parametrize(("precision", "fused"), [("16-mixed", True), ("16-mixed", False), ("bf16-mixed", True)])
def test_fused_optimizers_are_refused_where_they_hide_the_scale(precision, fused):
    optimizer = Adam([torch.nn.Parameter(torch.zeros(2))], fused=fused)
    trainer = SimpleNamespace(precision=precision)
    if precision == "16-mixed" and fused:
        with pytest.raises(ValueError, match=r"16-mixed.*Adam.*fused: false"):
            refuse_hidden_scale(trainer, optimizer)
    else:
        refuse_hidden_scale(trainer, optimizer)


def test_statistics_of_batch_normalisation_are_averaged_over_processes():
    class Reduced:
        """Two processes, of which the other has zeros."""

        def reduce(self, tensor, reduce_op):
            assert reduce_op == "mean"
            return tensor / 2

    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 3))
    module[0].running_mean.fill_(4.0)
    weight = module[1].weight.detach().clone()
    for world, expected in ((1, 4.0), (2, 2.0)):
        module.trainer = SimpleNamespace(world_size=world, strategy=Reduced())
        average_buffers(module)
        assert (module[0].running_mean == expected).all()
    assert module[0].num_batches_tracked.dtype == torch.int64  # a count has no mean
    assert torch.equal(module[1].weight, weight)
